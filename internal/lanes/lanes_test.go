package lanes

import (
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
)

func TestLane(t *testing.T) {
	l := &Lanes{Options: Options{Lane: holdfast.Traced,
		Lanes: map[string]holdfast.Lane{"fast": holdfast.Express, "slow": holdfast.Traced}}}
	m := func(topic string, lane holdfast.Lane) holdfast.Message {
		return holdfast.Message{Topic: topic, Lane: lane}
	}
	for _, row := range []struct {
		ms            []holdfast.Message
		traced, fast  holdfast.Lane // in a worker whose lane is Traced, and in one whose is Express
		whatDecidesIt string
	}{
		{nil, holdfast.Traced, holdfast.Express, "the worker"},
		{[]holdfast.Message{m("any", "")}, holdfast.Traced, holdfast.Express, "the worker"},
		{[]holdfast.Message{m("fast", "")}, holdfast.Express, holdfast.Express, "the topic"},
		{[]holdfast.Message{m("slow", "")}, holdfast.Traced, holdfast.Traced, "the topic"},
		{[]holdfast.Message{m("slow", holdfast.Express)}, holdfast.Express, holdfast.Express, "the message"},
		{[]holdfast.Message{m("fast", holdfast.Traced)}, holdfast.Traced, holdfast.Traced, "the message"},
		{[]holdfast.Message{m("fast", ""), m("any", "")}, holdfast.Traced, holdfast.Express, "the one that is Traced"},
		{[]holdfast.Message{m("fast", ""), m("slow", "")}, holdfast.Traced, holdfast.Traced, "the one that is Traced"},
		{[]holdfast.Message{m("fast", "odd")}, holdfast.Traced, holdfast.Traced, "it is refused in either"},
	} {
		l.Lane = holdfast.Traced
		require.Equal(t, row.traced, l.Choose(row.ms), "%v: %s", row.ms, row.whatDecidesIt)
		l.Lane = holdfast.Express
		require.Equal(t, row.fast, l.Choose(row.ms), "%v: %s", row.ms, row.whatDecidesIt)
	}
}
