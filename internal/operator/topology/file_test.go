package topology

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
)

func TestFile(t *testing.T) {
	f, err := Read([]byte(`{"prefix":"p","half_queues":2,"groups":["g"],"sagas":["g"],"consumers":{"c":["a","b"]},"participants":{"s":["s.do","s.undo"]},"hooks":{"g":["all"]},"delays":["7s"]}`))
	require.NoError(t, err)
	x, err := f.Wanted()
	require.NoError(t, err)
	require.Equal(t, broker.Topology{Groups: []string{"g"}, Replies: []string{"g"},
		Consumers: []broker.Bound{{Name: "c", Topics: []string{"a", "b"}}, {Name: "s", Topics: []string{"s.do", "s.undo"}}},
		Delays:    []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 7 * time.Second}, Hooks: []broker.Hook{{Name: "g", Keys: []string{"all"}}}}, x)
	f.Add(File{Groups: []string{"h", "g"}, Consumers: map[string][]string{"c": {"b", "x"}, "d": {"y"}}})
	require.Equal(t, []string{"g", "h"}, f.Groups)
	require.Equal(t, map[string][]string{"c": {"a", "b", "x"}, "d": {"y"}}, f.Consumers)
	text, err := json.Marshal(f)
	require.NoError(t, err)
	again, err := Read(text)
	require.NoError(t, err)
	require.Equal(t, f, again)
	for _, bad := range []string{``, `{`, `{"group":["g"]}`, `{"groups":"g"}`, `{"groups":["g"]} {}`, `{}`, `{"groups":["g"],"delays":["7"]}`, `{"consumers":{"a":["x"]},"participants":{"a":["y"]}}`} {
		f, err := Read([]byte(bad))
		if err == nil {
			_, err = f.Wanted()
		}
		require.ErrorIs(t, err, holdfast.ErrInvalid, bad)
	}
}

func TestRunning(t *testing.T) {
	f := Running([]broker.ProcessStatus{
		{Keepers: []broker.KeeperStatus{{Group: "g", Queue: 1}, {Group: "g", Queue: 2}}, Sagas: []broker.SagaDefinition{{Group: "g", Name: "s"}},
			Consumers: []broker.ConsumerStatus{{Name: "c", Topics: []string{"a", "compensated:a"}, Delays: []time.Duration{10 * time.Second, 7 * time.Second}}}},
		{SendsFor: "h", Consumers: []broker.ConsumerStatus{{Name: "s", Participant: true, Topics: []string{"s.do"}, Delays: []time.Duration{time.Second}}}}})
	require.Equal(t, File{HalfQueues: 2, Groups: []string{"g", "h"}, Sagas: []string{"g"}, Consumers: map[string][]string{"c": {"a", "compensated:a"}},
		Participants: map[string][]string{"s": {"s.do"}}, Delays: []string{"7s"}}, f)
}

// A consumer's delays that are a participant's by default are named where there is no
// participant: otherwise declare would leave them out.
func TestRunningDelaysOfAParticipant(t *testing.T) {
	f := Running([]broker.ProcessStatus{{Consumers: []broker.ConsumerStatus{{Name: "c", Topics: []string{"a"}, Delays: []time.Duration{time.Second, 10 * time.Second}}}}})
	require.Equal(t, []string{"1s"}, f.Delays)
	x, err := f.Wanted()
	require.NoError(t, err)
	require.Equal(t, []time.Duration{time.Second}, x.Delays)
}

func TestBindings(t *testing.T) {
	objects := []broker.Object{{Kind: "queue", Name: "p.q.c"}, {Kind: "binding", Name: "p.q.c", Exchange: "p.topics", Key: "a"}, {Kind: "binding", Name: "p.q.c", Exchange: "p.topics", Key: "b"},
		{Kind: "binding", Name: "p.q.gone", Exchange: "p.topics", Key: "b"}, {Kind: "binding", Name: "p.q.c", Exchange: "p.topics", Key: "a.compensated", Removed: true},
		{Kind: "binding", Name: "p.q.c", Exchange: "p.topics", Key: "b.compensated", Removed: true}}
	bound := func(source, destination, key string) processes.Binding {
		return processes.Binding{Source: source, Destination: destination, DestinationType: "queue", Key: key}
	}
	got := bindings(objects, []processes.Binding{bound("p.topics", "p.q.c", "a"), bound("p.topics", "p.q.c", "old"), bound("p.topics", "p.q.c", "a.compensated"), bound("p.topics", "p.q.another", "x"), bound("p.topics", "spy", "#"),
		bound("p.dead", "spy", ""), bound("p.status", "p.status.1", ""), bound("p.replies", "p.replies.g@1", "x")}, "p", map[string]bool{"queue p.q.gone": true})
	var states []string
	for _, d := range got {
		states = append(states, d.State+" "+d.Object.String())
		require.Equal(t, d.Exchange == "p.topics" && d.Name == "spy", d.Harmless)
		require.NotEmpty(t, d.Remedy)
	}
	require.Equal(t, []string{"unexpected binding of p.q.c to p.topics for old", "unexpected binding of p.q.c to p.topics for a.compensated", "foreign binding of spy to p.topics for #", "foreign binding of spy to p.dead",
		"missing binding of p.q.c to p.topics for b"}, states)
}
