package worker_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/keyring"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// aKeyring is a keyring of a test's own, and its file.
func aKeyring(t testing.TB) (*keyring.File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keyring.json")
	_, err := keyring.New(path)
	require.NoError(t, err)
	k, err := keyring.Open(path)
	require.NoError(t, err)
	return k, path
}

// with has a worker encrypt with k.
func with(k holdfast.Keyring) func(*worker.Options) {
	return func(o *worker.Options) { o.Keyring = k }
}

// consumerOptions are those of a process with k that only consumes.
func (s *site) consumerOptions(k holdfast.Keyring) worker.Options {
	return worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: s.log(), Keyring: k}
}

// keyedAgency is an agency whose participants have k, and whose worker has the options that change makes.
func (s *site) keyedAgency(change func(*worker.Options), k holdfast.Keyring, ps []worker.Participant,
	activities map[string]any, defs ...saga.Definition) *running {
	s.t.Helper()
	s.runWith(s.consumerOptions(k), func(w *worker.Worker) {
		for _, p := range ps {
			s.consumers[p.Topic] = true
			w.Participate(p)
		}
	})
	o := s.options()
	change(&o)
	return s.runWith(o, func(w *worker.Worker) {
		for _, def := range defs {
			w.Saga(def)
		}
		for name, f := range activities {
			w.Activity(name, f)
		}
	})
}

// spy looks for texts, its marks, in all that goes through RabbitMQ, and is kept in PostgreSQL and
// Temporal.
type spy struct {
	s     *site
	marks []string
	mu    sync.Mutex
	// traced counts what RabbitMQ's tracer has shown of the prefix, and found is what had
	// a mark in it.
	traced int
	found  []string
}

// watch begins to look for marks. What was published before is not seen.
func (s *site) watch(marks ...string) *spy {
	s.t.Helper()
	x := &spy{s: s, marks: marks}
	stacktest.RabbitMQ(s.t, s.stack, "rabbitmqctl", "-q", "trace_on")
	conn, err := amqp.Dial(s.at.AMQPURL)
	require.NoError(s.t, err)
	s.t.Cleanup(func() {
		_ = conn.Close()
		stacktest.RabbitMQ(s.t, s.stack, "rabbitmqctl", "-q", "trace_off")
	})
	ch, err := conn.Channel()
	require.NoError(s.t, err)
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	require.NoError(s.t, err)
	require.NoError(s.t, ch.QueueBind(q.Name, "#", "amq.rabbitmq.trace", false, nil))
	deliveries, err := ch.Consume(q.Name, "", true, true, false, false, nil)
	require.NoError(s.t, err)
	go func() {
		for d := range deliveries {
			x.trace(d)
		}
	}()
	return x
}

func (x *spy) trace(d amqp.Delivery) {
	x.mu.Lock()
	defer x.mu.Unlock()
	text := append(bytes.Clone(d.Body), []byte(strings.Join(textsIn(d.Headers), "\n"))...)
	if !bytes.Contains(text, []byte(x.s.at.Prefix)) && !strings.Contains(d.RoutingKey, x.s.at.Prefix) {
		return
	}
	x.traced++
	if x.in(text) {
		x.found = append(x.found, "RabbitMQ: "+d.RoutingKey+": "+string(d.Body))
	}
}

// textsIn are all texts in a table, at whatever depth.
func textsIn(v any) (out []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []byte:
		return []string{string(v)}
	case amqp.Table:
		for _, x := range v {
			out = append(out, textsIn(x)...)
		}
	case []any:
		for _, x := range v {
			out = append(out, textsIn(x)...)
		}
	}
	return out
}

// in reports whether a mark is in data: as it is, in hex, or in base64.
func (x *spy) in(data []byte) bool {
	for _, mark := range x.marks {
		forms := []string{mark, hex.EncodeToString([]byte(mark))}
		for skip := range 3 {
			coded := base64.RawStdEncoding.EncodeToString(append(make([]byte, skip), mark...))
			forms = append(forms, coded[skip+1:len(coded)-1])
		}
		for _, form := range forms {
			if bytes.Contains(data, []byte(form)) {
				return true
			}
		}
	}
	return false
}

// finds returns where a mark was found.
func (x *spy) finds() []string {
	x.s.t.Helper()
	x.mu.Lock()
	found := append([]string(nil), x.found...)
	require.Positive(x.s.t, x.traced, "the tracer shows nothing")
	x.mu.Unlock()
	for _, db := range []*gorm.DB{x.s.orders, x.s.effects} {
		found = append(found, x.rows(db)...)
	}
	return append(found, x.histories()...)
}

// rows looks through Holdfast's tables.
func (x *spy) rows(db *gorm.DB) (found []string) {
	x.s.t.Helper()
	var tables []string
	require.NoError(x.s.t, db.Raw("SELECT tablename FROM pg_tables WHERE tablename LIKE 'holdfast%'").Scan(&tables).Error)
	require.NotEmpty(x.s.t, tables)
	for _, table := range tables {
		var rows []string
		require.NoError(x.s.t, db.Raw("SELECT t::text FROM "+table+" AS t").Scan(&rows).Error)
		for _, row := range rows {
			if x.in([]byte(row)) {
				found = append(found, "PostgreSQL: "+table+": "+row)
			}
		}
	}
	return found
}

// histories looks through all that Temporal has of the prefix.
func (x *spy) histories() (found []string) {
	x.s.t.Helper()
	list, err := x.s.temporal.ListWorkflow(x.s.ctx(), &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1000})
	require.NoError(x.s.t, err)
	for _, w := range list.GetExecutions() {
		if !strings.Contains(w.GetTaskQueue(), x.s.at.Prefix) {
			continue
		}
		if text, err := proto.Marshal(w); err == nil && x.in(text) {
			found = append(found, "Temporal: "+w.String())
		}
		events := x.s.temporal.GetWorkflowHistory(x.s.ctx(), w.GetExecution().GetWorkflowId(), w.GetExecution().GetRunId(), false,
			enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			e, err := events.Next()
			require.NoError(x.s.t, err)
			text, err := proto.Marshal(e)
			require.NoError(x.s.t, err)
			if x.in(text) {
				found = append(found, "Temporal: "+w.GetExecution().GetWorkflowId()+": "+e.String())
			}
		}
	}
	return found
}
