package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.temporal.io/sdk/client"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/metrics"
	"github.com/holdfastmq/holdfast/internal/sagarun"
)

// troubles are what people should know of this process, for `holdfast doctor`.
func (w *Worker) troubles() (out []broker.Trouble) {
	if w.o.Temporal != nil {
		if since, err := w.attached.trouble(); err != nil {
			out = append(out, broker.Trouble{What: "it does not work for Temporal, and what needs that fails: " +
				err.Error(), Since: since,
				Remedy: "mend what the error names; it goes on by itself, and the Express lane goes on sending"})
		}
	}
	out = append(out, w.databases.SmallPools()...)
	if d := w.sagas.waiters.Distrusted(); d.N > 0 {
		out = append(out, distrusts(d))
	}
	if t := w.peers.SharedTaskQueue(); t.What != "" {
		out = append(out, t)
	}
	if t := w.keeper.Unkept(); t.What != "" {
		out = append(out, t)
	}
	return append(out, w.alerts.Troubles()...)
}

// distrusts says that sagas of this process do not take their participants' replies.
func distrusts(d sagarun.Distrusted) broker.Trouble {
	return broker.Trouble{Since: d.Since,
		What: fmt.Sprintf("%d replies to its sagas did not count, since they had not the token of the call, "+
			"or named another topic; the last one from participant %q, for step %s of %s",
			d.N, d.Last.Participant, d.Last.Step, d.Last.Saga),
		Remedy: "set RollingUpgrade while participants of an earlier version run; participants " +
			"in other languages have to repeat token and topic; otherwise see who may write to the exchange of replies"}
}

// askHealth bounds the questions of Health.
const askHealth = 2 * time.Second

// Health says how the worker is, for a platform that restarts processes and sends them
// work. It asks the databases and Temporal for a sign of life, for 2 s at most. It may be
// called at any time, from many goroutines. See [HealthHandler].
func (w *Worker) Health(ctx context.Context) holdfast.Health {
	h := w.alive()
	if h.State == holdfast.WorkerRunning || h.State == holdfast.WorkerDraining { // else it has no parts
		h.Parts = w.parts(ctx)
	}
	h.Ready = isReady(h)
	return h
}

// alive is the part of Health for which nobody is asked.
func (w *Worker) alive() holdfast.Health {
	state := w.stage()
	return holdfast.Health{State: state, Live: state != holdfast.WorkerEnded}
}

// isReady reports whether a worker can take work, without the parts that are excluded, in
// lower case.
func isReady(h holdfast.Health, excluded ...string) bool {
	return h.State == holdfast.WorkerRunning && !slices.ContainsFunc(h.Parts, func(p holdfast.HealthPart) bool {
		return p.Needed && !p.Up && !slices.Contains(excluded, strings.ToLower(p.Name))
	})
}

// stage is how far the worker is.
func (w *Worker) stage() string {
	is := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	switch {
	case is(w.over):
		return holdfast.WorkerEnded
	case !is(w.ready):
		return holdfast.WorkerStarting
	case w.drainUntil.Load() != nil:
		return holdfast.WorkerDraining
	}
	return holdfast.WorkerRunning
}

// parts asks the servers, at once.
func (w *Worker) parts(ctx context.Context) []holdfast.HealthPart {
	ctx, cancel := context.WithTimeout(ctx, askHealth)
	defer cancel()
	var temporal error
	var asking sync.WaitGroup
	if w.o.Temporal != nil {
		asking.Go(func() { temporal = w.askTemporal(ctx) })
	}
	databases := w.databases.Reach(ctx)
	asking.Wait()

	parts := []holdfast.HealthPart{part("RabbitMQ", true, w.broker.Reached())}
	for _, db := range databases {
		name := "PostgreSQL"
		if db.Of != "" {
			name += " of " + db.Of
		}
		parts = append(parts, part(name, true, db.Err))
	}
	if w.o.Temporal != nil {
		parts = append(parts, part("Temporal", w.o.Lane != holdfast.Express, temporal))
	}
	return parts
}

func part(name string, needed bool, err error) holdfast.HealthPart {
	p := holdfast.HealthPart{Name: name, Needed: needed, Up: err == nil}
	if err != nil {
		p.Error = err.Error()
	}
	return p
}

// askTemporal is nil if the process works for Temporal, which answers.
func (w *Worker) askTemporal(ctx context.Context) error {
	if err := w.attached.missing(); err != nil {
		return err
	}
	_, err := w.o.Temporal.CheckHealth(ctx, &client.CheckHealthRequest{})
	return err
}

// HealthHandler answers the probes of a platform: 200 or 503, with the [holdfast.Health] as
// JSON. A path that ends in /livez says whether the process need not be restarted, and asks
// nobody; any other one, such as /readyz, whether it can take work. ?exclude=temporal leaves
// a part out of that, by its name in lower case. Errors name hosts, and users of databases:
// serve it where only the platform can reach it.
func HealthHandler(w *Worker) http.Handler {
	return http.HandlerFunc(func(to http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			to.Header().Set("Allow", "GET, HEAD")
			http.Error(to, "use GET", http.StatusMethodNotAllowed)
			return
		}
		h := w.alive()
		well := h.Live
		if !strings.HasSuffix(r.URL.Path, "/livez") {
			h = w.Health(r.Context())
			h.Ready = isReady(h, r.URL.Query()["exclude"]...)
			well = h.Ready
		}
		to.Header().Set("Content-Type", "application/json")
		to.Header().Set("Cache-Control", "no-store")
		if !well {
			to.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(to).Encode(h) // who asked may be gone
	})
}

// load is how much is in use of what is limited in this process.
func (w *Worker) load() metrics.Load {
	l := metrics.Load{Publishes: w.broker.PublishStats().InFlight}
	if w.sagas.express != nil {
		l.Sagas, l.MaxSagas = w.sagas.express.Load()
	}
	for _, p := range w.databases.Pools() {
		l.Pools = append(l.Pools, metrics.PoolLoad{Name: p.Name, InUse: p.InUse, Limit: p.MaxOpenConnections,
			Waits: p.WaitCount, Waited: p.WaitDuration})
	}
	for _, c := range w.broker.ConsumerLoads() {
		l.Handlers = append(l.Handlers, metrics.HandlerLoad{Consumer: c.Name, Busy: min(c.Busy, c.Limit), Limit: c.Limit})
	}
	return l
}
