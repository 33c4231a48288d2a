package consumers

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker"
)

// TestNobodyHeeds: who reads the JSON finds a list, also where no process has the consumer.
func TestNobodyHeeds(t *testing.T) {
	others := []broker.ProcessStatus{{Consumers: []broker.ConsumerStatus{{Name: "stock"}}}}
	said, err := json.Marshal(Told{Consumer: "mail", Processes: heeding(others, Told{Consumer: "mail"})})
	require.NoError(t, err)
	require.JSONEq(t, `{"consumer":"mail","processes":[]}`, string(said))
}
