package peers

import (
	"strconv"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// Answers that are too many, or too long, are not taken.
func TestAnswersAreBounded(t *testing.T) {
	var a asking
	a.from = map[string]bool{}
	a.take(&amqp.Delivery{Body: []byte(`{"v":1,"keepers":[{}` + strings.Repeat(",{}", 1000) + `]}`)})
	require.Empty(t, a.answers)
	for i := range maxAnswers + 5 {
		a.take(&amqp.Delivery{MessageId: strconv.Itoa(i), Body: []byte(`{"v":1}`)})
	}
	require.Len(t, a.answers, maxAnswers)
}
