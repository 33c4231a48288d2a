package worker_test

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// said collects what a worker logs at Info and above.
type said struct {
	mu    sync.Mutex
	lines []string
}

func (s *said) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (s *said) WithAttrs([]slog.Attr) slog.Handler           { return s }
func (s *said) WithGroup(string) slog.Handler                { return s }
func (s *said) Handle(_ context.Context, r slog.Record) error {
	line := fmt.Sprintf("%s %s", r.Level, r.Message)
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
	return nil
}

// TestQuietWhenWell: what a healthy process logs at Info and above, from its start over
// all that is routine to its end, is a line.
func TestQuietWhenWell(t *testing.T) {
	t.Parallel()
	s := sagaSite(t)
	var producing, consuming, taking said
	o := worker.Options{AMQPURL: s.at.AMQPURL, DB: s.effects, Prefix: s.at.Prefix, Logger: slog.New(&consuming)}
	pays := payments(s.effects)
	pays.Concurrency = 4 // of a pool of 12
	consumer := s.run(o, pays)
	seats := s.seats(func(j journey) error {
		if j.Paid {
			return saga.Refuse("no seat")
		}
		return nil
	})
	seats.Concurrency = 4
	s.consumers[seats.Topic] = true
	o.Logger = slog.New(&taking)
	participant := s.runWith(o, func(w *worker.Worker) { w.Participate(seats) })
	def := travel(local("pay"), seat())
	o = s.options()
	o.Logger = slog.New(&producing)
	w := s.runWith(o, func(w *worker.Worker) { w.Saga(def) })
	for n := range 20 {
		m := order(newID())
		m.Lane = []holdfast.Lane{holdfast.Traced, holdfast.Express}[n%2]
		_, err := w.Send(s.ctx(), m, insert)
		require.NoError(t, err)
		_, err = w.Send(s.ctx(), holdfast.Message{Topic: placed, Lane: m.Lane}, func(context.Context, *gorm.DB, *holdfast.Message) error { return errOops })
		require.ErrorIs(t, err, holdfast.ErrRolledBack)
		s.oneEffect(m.ID)
	}
	for n := range 4 {
		_, err := s.travels(w, def, func(j *journey) { j.Paid = n%2 == 1 })
		if n%2 == 1 {
			require.ErrorIs(t, err, holdfast.ErrSagaCompensated)
		} else {
			require.NoError(t, err)
		}
	}
	for _, r := range []*running{w, consumer, participant} {
		r.stop()
	}
	express := s.options()
	var fast said
	express.Lane, express.Logger = holdfast.Express, slog.New(&fast)
	e := s.run(express)
	_, err := e.Send(s.ctx(), order(""), insert)
	require.NoError(t, err)
	e.stop()
	for _, l := range []*said{&fast, &producing, &consuming, &taking} {
		require.Len(t, l.lines, 1, "%q", l.lines)
		require.Contains(t, l.lines[0], "INFO holdfast runs")
	}
}

// atInfo are all lines at Info: but for the first one, each is about something that is
// not as usual, and that a person need not look at. What is routine is Debug.
var atInfo = []string{
	"holdfast runs",
	"no Temporal: the Express lane only; what stays undecided waits for a process of the group that has it",
	"a consumer has begun: transactions that waited for one are tried again",
	"a copy of a dead letter that is settled",
	"a message was delivered before and nobody knows what came of it",
	"a saga's step is not undone: its Do has no row, and what it did outside its database is not known",
	"another process of the group keeps the half queue from now on, since it can hand over",
	"clocks agree again",
	"connected to RabbitMQ again",
	"nobody pauses the consumer any more: it goes on",
	"consumers can be paused by hand here", // where they could not
	"a record counts although its signature does not, since signing is not required yet",
	"messages that were lost several times are tried alone",
	"RabbitMQ accepts publishes again",
	"somebody asks the consumer to try a message at once",
	"Temporal is reached: undecided half messages are handed over", // after it was not
	"the consumer tries one message",
	"the consumer works again, and goes on as usual",
	"this user may not make a queue of its own for replies to sagas: they come through the group's, a little later",
	"this user may not read the queue of expired dead letters: others put them back",
	"this user may not read the queue of the alerts that nobody took: others take them",
}

// TestLinesAtInfo: the moments of most lines do not come in a test of a healthy process,
// so the lines themselves are counted.
func TestLinesAtInfo(t *testing.T) {
	t.Parallel()
	var found []string
	files := token.NewFileSet()
	for _, folder := range []string{".", "../activities", "../barrier", "../broker",
		"../compensation", "../saga", "../workflows",
		"../internal/alerts", "../internal/databases", "../internal/intake", "../internal/keep", "../internal/lanes",
		"../internal/metrics", "../internal/observe", "../internal/peers", "../internal/remember", "../internal/sagahandle",
		"../internal/sagareplies", "../internal/sagarun", "../internal/signals", "../internal/steps"} {
		seen := 0
		require.NoError(t, filepath.WalkDir(folder, func(name string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			seen++
			file, err := parser.ParseFile(files, name, nil, 0)
			require.NoError(t, err)
			ast.Inspect(file, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					found = append(found, lineAtInfo(call)...)
				}
				return true
			})
			return nil
		}))
		require.Positive(t, seen, folder)
	}
	require.ElementsMatch(t, atInfo, found, "is the new line routine? Then it is Debug; otherwise add it here")
}

// lineAtInfo is what a call logs at Info, or, by its level, may log there.
func lineAtInfo(call *ast.CallExpr) []string {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	at := map[string]int{"Info": 0, "InfoContext": 1, "Log": 2, "LogAttrs": 2}
	i, ok := at[f.Sel.Name]
	if !ok || i >= len(call.Args) {
		return nil
	}
	line, ok := literal(call.Args[i])
	if !ok {
		return nil
	}
	return []string{line}
}

// literal is the text of a string, or of several that are added up.
func literal(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.BinaryExpr:
		left, ok := literal(e.X)
		right, both := literal(e.Y)
		return left + right, ok && both
	}
	return "", false
}
