package worker_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
)

// probe asks as a platform does.
func probe(t *testing.T, w *worker.Worker, path string) (code int, h holdfast.Health) {
	t.Helper()
	got := httptest.NewRecorder()
	worker.HealthHandler(w).ServeHTTP(got, httptest.NewRequest(http.MethodGet, path, nil))
	require.Equal(t, "application/json", got.Header().Get("Content-Type"))
	require.NoError(t, json.Unmarshal(got.Body.Bytes(), &h), got.Body)
	return got.Code, h
}

// down are the parts that a worker does not reach.
func down(h holdfast.Health) (names []string) {
	for _, p := range h.Parts {
		if !p.Up {
			names = append(names, p.Name)
		}
		if p.Up != (p.Error == "") {
			names = append(names, p.Name+" is up and has an error, or the reverse: "+p.Error)
		}
	}
	return names
}

// TestHealth: each server that is away makes a worker unready, and none of them makes
// anybody restart it.
func TestHealth(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	rabbit, postgres := newRelay(t, hostOf(t, s.at.AMQPURL)), newRelay(t, hostOf(t, s.at.OrdersURL))
	temporal := newRelay(t, s.at.Temporal)
	o := s.options()
	o.AMQPURL = rabbit.through(s.at.AMQPURL)
	o.Temporal = dialTemporal(t, temporal.address(), s.at.Namespace, nil)
	db, err := dialDB(postgres.through(s.at.OrdersURL))
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { _ = pool.Close() })
	s.consumers["payments"] = true
	o.DB = db
	w, err := worker.New(o)
	require.NoError(t, err)
	require.Equal(t, holdfast.Health{State: holdfast.WorkerStarting, Live: true}, w.Health(t.Context()))
	code, _ := probe(t, w, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	handling, release := make(chan struct{}), make(chan struct{})
	c := payments(s.effects)
	c.Handle = func(context.Context, *gorm.DB, holdfast.Message) error {
		close(handling)
		<-release
		return nil
	}
	w.Consume(c)
	go func() { ended <- w.Run(ctx) }()
	<-w.Ready()
	until(t, "it is ready", func() bool {
		code, h := probe(t, w, "/health/readyz")
		return code == http.StatusOK && h.Ready && h.Live && h.State == holdfast.WorkerRunning && len(h.Parts) == 4
	})

	for name, link := range map[string]*relay{"RabbitMQ": rabbit, "PostgreSQL": postgres, "Temporal": temporal} {
		link.refuse(true)
		link.cut()
		until(t, name+" is missed, and nothing else", func() bool {
			code, h := probe(t, w, "/readyz")
			return code == http.StatusServiceUnavailable && !h.Ready && h.Live && len(down(h)) == 1 && down(h)[0] == name
		})
		code, _ := probe(t, w, "/livez")
		require.Equal(t, http.StatusOK, code)
		code, h := probe(t, w, "/readyz?exclude=rabbitmq&exclude=postgresql&exclude=temporal")
		require.Equal(t, http.StatusOK, code, h)
		link.refuse(false)
		until(t, name+" is back", func() bool { return w.Health(t.Context()).Ready })
	}

	s.publish(s.broker(), holdfast.Message{ID: newID(), Topic: placed})
	<-handling
	cancel()
	until(t, "it drains: no new work, and no restart", func() bool {
		code, h := probe(t, w, "/readyz")
		return code == http.StatusServiceUnavailable && h.State == holdfast.WorkerDraining && h.Live
	})
	close(release)
	require.NoError(t, next(t, ended))
	code, h := probe(t, w, "/livez")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, holdfast.Health{State: holdfast.WorkerEnded}, h)
	got := httptest.NewRecorder()
	worker.HealthHandler(w).ServeHTTP(got, httptest.NewRequest(http.MethodPost, "/livez", nil))
	require.Equal(t, http.StatusMethodNotAllowed, got.Code)
}

// TestHealthWithoutTemporal: who sends in the Express lane needs none to be ready, and
// says that it is away.
func TestHealthWithoutTemporal(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	link := newRelay(t, s.at.Temporal)
	link.refuse(true)
	o := s.options()
	o.Lane, o.Temporal = holdfast.Express, dialTemporal(t, link.address(), s.at.Namespace, nil)
	w := s.runWith(o, func(*worker.Worker) {})
	h := w.Health(t.Context())
	require.True(t, h.Ready)
	require.Equal(t, []string{"Temporal"}, down(h))
	link.refuse(false)
	until(t, "it is there", func() bool { return down(w.Health(t.Context())) == nil })
}
