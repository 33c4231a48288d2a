package worker_test

import (
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	sdklog "go.temporal.io/sdk/log"

	"github.com/holdfastmq/holdfast/worker"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// slowInput reads a saga's input slowly, once: in a task of its workflow.
type slowInput struct {
	converter.DataConverter
	once sync.Once
}

func (s *slowInput) FromPayloads(from *commonpb.Payloads, to ...any) error {
	if _, is := to[0].(*sagas.Input); is {
		s.once.Do(func() { time.Sleep(3 * time.Second) })
	}
	return s.DataConverter.FromPayloads(from, to...)
}

// A task that gets no processor for longer than Temporal waits for it is done again, and is no deadlock:
// Temporal's SDK would take the workflow apart while it still runs.
func TestTaskThatTakesLong(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	var log said
	o := (*cable)(nil).options(s.at.Temporal, s.at.Namespace, sdklog.NewStructuredLogger(slog.New(&log)))
	o.DataConverter = &slowInput{DataConverter: converter.GetDefaultDataConverter()}
	c, err := client.Dial(o)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	def := travel(local("a"))
	options := s.options()
	options.Temporal, options.Timeouts.Task = c, time.Second
	w := s.runWith(options, func(w *worker.Worker) { w.Saga(def) })
	j, err := s.travels(w, def)
	require.NoError(t, err)
	require.Equal(t, []string{"do a"}, s.logged(s.orders, j.ID))
	log.mu.Lock()
	defer log.mu.Unlock()
	for _, line := range log.lines {
		require.NotContains(t, line, "deadlock")
	}
}
