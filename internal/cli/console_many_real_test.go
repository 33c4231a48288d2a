package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
)

// TestConsoleRedeliversManyDeadLetters: the first one alone, then the rest; another console goes
// on with what the first one left, and leaves out what that did although it failed again.
func TestConsoleRedeliversManyDeadLetters(t *testing.T) {
	t.Parallel()
	s := stacktest.Shared(t)
	prefix, c := stacktest.Prefix(t), stacktest.TemporalClient(t, s)
	database, db := migrated(t)
	w, err := worker.New(worker.Options{Group: prefix, Temporal: c, Namespace: s.Namespace(), AMQPURL: s.AMQPURL(), DB: db, Prefix: prefix})
	require.NoError(t, err)
	var mended atomic.Bool
	var mu sync.Mutex
	took := map[string]int{} // handled, by key
	w.Consume(worker.Consumer{Name: "payments", Topics: []string{"order.placed"}, HandleAtLeastOnce: func(_ context.Context, m holdfast.Message) error {
		if !mended.Load() {
			return holdfast.Permanent(errors.New("no card"))
		}
		mu.Lock()
		defer mu.Unlock()
		took[m.Key]++
		return nil
	}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	}))
	<-w.Ready()
	const many = 6
	for i := range many {
		_, err = w.Send(t.Context(), holdfast.Message{Topic: "order.placed", Key: fmt.Sprint("A-", i), Body: []byte(`{}`)},
			func(context.Context, *gorm.DB, *holdfast.Message) error { return nil })
		require.NoError(t, err)
	}
	env := []string{"HOLDFAST_PREFIX=" + prefix, "AMQP_URL=" + s.AMQPURL(), "DATABASE_URL=" + database,
		"TEMPORAL_ADDRESS=" + s.TemporalAddress(), "TEMPORAL_NAMESPACE=" + s.Namespace()}
	bob := visitors(t, env, "bob")[0]
	bob.opens("/dead?by=error&consumer=payments", fmt.Sprintf(`<td class="number">%d</td>`, many))
	run := func(v *visitor, act string) (at string) {
		return v.begins(v.choose(v.opens("/dead?by=error&consumer=payments", act+" together …"), act+" together"))
	}

	// Nothing is mended yet: the first one fails again, and that was all.
	at := run(bob, "Redeliver")
	page := bob.opens(at, "the first one did not succeed")
	require.Contains(t, page, "failed again")
	require.Contains(t, page, fmt.Sprintf("%d not sent", many-1))

	// It is mended. Another console, since the first one died, goes on: but for the one that
	// was done.
	mended.Store(true)
	eve := visitors(t, env, "eve")[0]
	status, page := eve.get(at)
	require.Equal(t, http.StatusNotFound, status)
	next := regexp.MustCompile(`href="(/do\?[^"]+)"`).FindStringSubmatch(page)
	require.NotNil(t, next, page)
	status, page = eve.get(next[1])
	require.Equal(t, http.StatusOK, status, page)
	require.Contains(t, page, "1 more were done by this run before")
	at = eve.begins(formOf(page))
	page = eve.opens(at, "waits for you")
	require.Contains(t, page, ": handled")
	mu.Lock()
	require.Len(t, took, 1)
	mu.Unlock()
	status, page = eve.post("/dead/run", url.Values{"token": {formOf(page).Get("token")}, "id": {idOf(at)}, "do": {"go"}, "rate": {"20"}})
	require.Equal(t, http.StatusOK, status, page)
	page = eve.opens(at, `<span class="state">over</span>`)
	require.Contains(t, page, fmt.Sprintf("%d of %d: %d handled", many-1, many-1, many-1))
	mu.Lock()
	require.Len(t, took, many-1)
	for key, times := range took {
		require.Equal(t, 1, times, key)
	}
	mu.Unlock()

	// The one that is left is discarded, together with nobody.
	eventually(t, func() bool {
		_, page = eve.get("/dead/list?consumer=payments&state=parked")
		return strings.Count(page, `href="/letter?id=`) == 1
	}, func() string { return page })
	at = run(eve, "Discard")
	page = eve.opens(at, `<span class="state">over</span>`)
	require.Contains(t, page, "1 of 1: 1 discarded")

	var rows []struct{ Operator, Action, Outcome string }
	require.NoError(t, db.Raw(`SELECT operator, action, outcome FROM holdfast_audit WHERE action <> 'login' ORDER BY id`).Scan(&rows).Error)
	counts := map[string]int{}
	for _, r := range rows {
		counts[strings.TrimSuffix(r.Operator, " (authenticated by file)")+" "+r.Action+": "+r.Outcome]++
	}
	require.Equal(t, map[string]int{"bob dead letters redeliver: asked": 1, "bob dead redeliver: asked": 1, "bob dead redeliver: failed again": 1,
		"bob dead letters redeliver: ended before it was over": 1,
		"eve dead letters redeliver: asked":                    1, "eve dead letters redeliver: go on: asked": 1, "eve dead redeliver: asked": many - 1,
		"eve dead redeliver: handled": many - 1, "eve dead letters redeliver: over": 1,
		"eve dead letters discard: asked": 1, "eve dead discard: asked": 1, "eve dead discard: discarded": 1, "eve dead letters discard: over": 1}, counts)
}

// formOf is a page's form for /do, filled in.
func formOf(page string) url.Values {
	_, form, _ := strings.Cut(page, `<main`)
	values := url.Values{"reason": {"as agreed"}}
	for _, found := range hiddenOne.FindAllStringSubmatch(form, -1) {
		values.Set(found[1], found[2])
	}
	return values
}

// begins sends a form that begins a run, and returns the page that it leads to.
func (v *visitor) begins(form url.Values) (at string) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, v.base+"/do", strings.NewReader(form.Encode()))
	require.NoError(v.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", v.base)
	got, err := v.c.Do(r)
	require.NoError(v.t, err)
	defer func() { _ = got.Body.Close() }()
	require.Equal(v.t, http.StatusOK, got.StatusCode)
	require.Equal(v.t, "/dead/run", got.Request.URL.Path)
	return got.Request.URL.RequestURI()
}

func idOf(at string) string {
	u, err := url.Parse(at)
	if err != nil {
		return ""
	}
	return u.Query().Get("id")
}
