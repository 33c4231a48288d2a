package cli

import (
	"context"
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/console"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// visitor is somebody at the browser, who is logged in to a console.
type visitor struct {
	t    *testing.T
	base string
	c    *http.Client
}

// visitors logs in an operator of each name.
func visitors(t *testing.T, env []string, names ...string) (all []*visitor) {
	t.Helper()
	const password = "correct horse"
	var users strings.Builder
	hash, err := bcrypt.GenerateFromPassword([]byte(password), 10) // the least that the console takes
	require.NoError(t, err)
	for _, name := range names {
		users.WriteString(name + ":operator:" + string(hash) + "\n")
	}
	c, err := console.New(t.Context(), console.Options{Users: strings.NewReader(users.String()), Environ: env, Log: io.Discard})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	web := httptest.NewServer(c)
	t.Cleanup(web.Close)
	for _, name := range names {
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		v := &visitor{t, web.URL, &http.Client{Jar: jar}}
		status, page := v.post("/login", url.Values{"name": {name}, "password": {password}})
		require.Equal(t, http.StatusOK, status, page)
		all = append(all, v)
	}
	return all
}

func (v *visitor) get(path string) (status int, page string) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, v.base+path, nil)
	require.NoError(v.t, err)
	return v.send(r)
}

func (v *visitor) post(path string, form url.Values) (status int, page string) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, v.base+path, strings.NewReader(form.Encode()))
	require.NoError(v.t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", v.base)
	return v.send(r)
}

func (v *visitor) send(r *http.Request) (status int, page string) {
	v.t.Helper()
	got, err := v.c.Do(r)
	require.NoError(v.t, err)
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(got.Body)
	require.NoError(v.t, err)
	return got.StatusCode, html.UnescapeString(string(text))
}

// opens gets a page until it has a text: the visibility store is late.
func (v *visitor) opens(path, text string) (page string) {
	v.t.Helper()
	eventually(v.t, func() bool {
		var status int
		status, page = v.get(path)
		return status == http.StatusOK && strings.Contains(page, text)
	}, func() string { return path + " has no " + text + ":\n" + page })
	return page
}

var (
	offered   = regexp.MustCompile(`<a class="button" href="([^"]+)">([^<]+) …</a>`)
	hiddenOne = regexp.MustCompile(`<input type="hidden"(?: id="[^"]*")? name="(\w+)" value="([^"]*)">`)
)

// choose opens the page that asks for confirmation of an action that a page offers, and fills
// in its form.
func (v *visitor) choose(page, action string) url.Values {
	v.t.Helper()
	all := offered.FindAllStringSubmatch(page, -1)
	i := slices.IndexFunc(all, func(found []string) bool { return found[2] == action })
	require.GreaterOrEqual(v.t, i, 0, "%s is not offered: %s", action, page)
	status, page := v.get(all[i][1])
	require.Equal(v.t, http.StatusOK, status, page)
	_, form, _ := strings.Cut(page, `action="/do"`)
	values := url.Values{"reason": {"as agreed"}}
	for _, found := range hiddenOne.FindAllStringSubmatch(form, -1) {
		values.Set(found[1], found[2])
	}
	return values
}

// does posts a form and returns what came of it: what it has to say, or, where a busy machine has no
// answer in time, that; then a page has to tell.
func (v *visitor) does(form url.Values, says, path, tells string) (said string) {
	v.t.Helper()
	status, page := v.post("/do", form)
	require.Equal(v.t, http.StatusOK, status, page)
	if strings.Contains(page, actions.NoAnswer) {
		v.opens(path, tells)
		return actions.NoAnswer
	}
	require.Contains(v.t, page, says)
	return says
}

// migrated is a database with Holdfast's tables.
func migrated(t *testing.T) (string, *gorm.DB) {
	t.Helper()
	address := stacktest.Database(t, stacktest.Shared(t))
	db, err := gorm.Open(postgres.Open(address), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	t.Cleanup(func() {
		pool, err := db.DB()
		require.NoError(t, err)
		require.NoError(t, pool.Close())
	})
	require.NoError(t, barrier.Migrate(t.Context(), db))
	return address, db
}

func TestConsoleMendsASaga(t *testing.T) {
	t.Parallel()
	g := newTroupe(t)
	database, db := migrated(t)
	g.set("do pay", holdfast.ClassPermanent, "no card")
	id := g.begin("1", `{}`, "parked")
	all := visitors(t, append(slices.Clone(g.env), "DATABASE_URL="+database), "bob", "eve")
	bob, eve := all[0], all[1]

	bob.opens("/", ">"+id+"</a>")
	page := bob.opens("/search?q="+url.QueryEscape(g.prefix+"-1"), "✗ pay") // the key leads to the saga
	require.Contains(t, page, "no card")
	require.Contains(t, page, "2. Undo create.")
	mine := bob.choose(page, "Retry")
	other := eve.choose(page, "Compensate")
	g.set("do pay", "", "")
	status, page := bob.post("/do", mine)
	require.Equal(t, http.StatusOK, status, page)
	require.Contains(t, page, "Retry: retried")
	g.stands(id, "completed")
	require.Equal(t, []string{"do create", "do pay", "do ship"}, g.acts())

	status, page = bob.post("/do", mine)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, page, "Retry: retried", "what came of it then")
	status, page = eve.post("/do", other)
	require.Equal(t, http.StatusConflict, status)
	require.Contains(t, page, "<td>state</td><td>parked</td><td>completed</td>")
	require.Equal(t, "completed", g.show(id).State)

	story := g.show(id).Status.Story
	i := slices.IndexFunc(story, func(e sagaflow.Event) bool { return e.What == sagaflow.UpdateRetry })
	require.GreaterOrEqual(t, i, 0, story)
	require.Equal(t, []string{"bob (authenticated by file)", "as agreed"}, []string{story[i].Operator, story[i].Text})

	// After its end it can be undone, and the page says how.
	page = eve.opens("/saga?id="+url.QueryEscape(id), "a second workflow undoes it")
	status, page = eve.post("/do", eve.choose(page, "Compensate"))
	require.Equal(t, http.StatusOK, status, page)
	require.Contains(t, page, "Compensate: compensated")
	require.Equal(t, []string{"undo pay", "undo create"}, g.acts()[3:])

	var rows []struct{ Operator, Action, Target, Outcome string }
	require.NoError(t, db.Raw(`SELECT operator, action, target, outcome FROM holdfast_audit WHERE action <> 'login' ORDER BY id`).
		Scan(&rows).Error)
	var said []string
	for _, r := range rows {
		require.Equal(t, id, r.Target)
		said = append(said, r.Operator+" "+r.Action+": "+r.Outcome)
	}
	require.Equal(t, []string{"bob (authenticated by file) saga retry: asked", "bob (authenticated by file) saga retry: retried",
		"eve (authenticated by file) saga compensate: refused",
		"eve (authenticated by file) saga compensate: asked", "eve (authenticated by file) saga compensate: compensated"}, said)
}

// TestConsoleRedeliversADeadLetter: of a consumer that gave it up, over RabbitMQ.
func TestConsoleRedeliversADeadLetter(t *testing.T) {
	t.Parallel()
	s := stacktest.Shared(t)
	prefix, c := stacktest.Prefix(t), stacktest.TemporalClient(t, s)
	database, db := migrated(t)
	w, err := worker.New(worker.Options{Group: prefix, Temporal: c, Namespace: s.Namespace(), AMQPURL: s.AMQPURL(), DB: db, Prefix: prefix})
	require.NoError(t, err)
	var mended atomic.Bool
	took := make(chan string, 1)
	w.Consume(worker.Consumer{Name: "payments", Topics: []string{"order.placed"}, HandleAtLeastOnce: func(_ context.Context, m holdfast.Message) error {
		if !mended.Load() {
			return holdfast.Permanent(errors.New("no card"))
		}
		took <- m.Key
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
	key := prefix + "-1"
	_, err = w.Send(t.Context(), holdfast.Message{Topic: "order.placed", Key: key, Body: []byte(`{"total":12}`)},
		func(context.Context, *gorm.DB, *holdfast.Message) error { return nil })
	require.NoError(t, err)

	env := []string{"HOLDFAST_PREFIX=" + prefix, "AMQP_URL=" + s.AMQPURL(), "DATABASE_URL=" + database,
		"TEMPORAL_ADDRESS=" + s.TemporalAddress(), "TEMPORAL_NAMESPACE=" + s.Namespace()}
	bob := visitors(t, env, "bob")[0]
	home := bob.opens("/", "no card")
	require.NotContains(t, home, "What could not be looked at")
	bob.opens("/dead?by=consumer", "payments")
	list := bob.opens("/dead/list?error=no+card", key)
	letter := regexp.MustCompile(`href="(/letter\?id=[^"]+)"`).FindStringSubmatch(list)
	require.NotNil(t, letter, list)
	page := bob.opens(letter[1], `"total": 12`)
	form := bob.choose(page, "Redeliver")
	mended.Store(true)
	status, page := bob.post("/do", form)
	require.Equal(t, http.StatusOK, status, page)
	require.Contains(t, page, "Redeliver: "+string(actions.Handled))
	require.Equal(t, key, <-took)
	status, page = bob.post("/do", form)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, page, "Redeliver: "+string(actions.Handled))
	require.Empty(t, took, "it was redelivered once")
	bob.opens(letter[1], `<span class="state ok">handled</span>`)
}

// TestConsoleDecidesTransactions: of two operators the second is told, and what is asked for is
// in the history and in the audit.
func TestConsoleDecidesTransactions(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	commit, again := s.park("P-2"), s.park("P-3")
	env := slices.DeleteFunc(slices.Clone(s.env), func(e string) bool { return strings.HasPrefix(e, "USER=") })
	all := visitors(t, env, "bob", "eve")
	bob, eve := all[0], all[1]
	list := bob.opens("/transactions?state=parked", commit)
	require.Contains(t, list, again)
	require.Contains(t, list, "undecided after 1 check-backs")
	at := "/transaction?id=" + url.QueryEscape(commit)
	page := bob.opens(at, "What can be done")
	require.Contains(t, page, "The database of group "+s.group+" is asked first.")
	mine, other := bob.choose(page, "Commit"), eve.choose(page, "Roll back")
	said := bob.does(mine, "Commit: committed", at, "committed</span>")
	status, page := bob.post("/do", mine)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, page, said, "what came of it then")
	status, page = eve.post("/do", other)
	require.Equal(t, http.StatusConflict, status)
	require.Contains(t, page, "<td>state</td><td>parked</td><td>committed</td>")
	page = bob.opens(at, `committed</span>`)
	require.NotContains(t, page, "What can be done")
	require.Contains(t, page, "bob (authenticated by file): as agreed")

	at = "/transaction?id=" + url.QueryEscape(again)
	page = eve.opens(at, "What can be done")
	stale := bob.choose(page, "Commit")
	eve.does(eve.choose(page, "Check back now"), "Check back now: rechecked, it is parked: undecided after", at, "undecided after 2")
	status, page = bob.post("/do", stale)
	require.Equal(t, http.StatusConflict, status, "it was checked back since")
	require.Contains(t, page, "<td>check-backs</td>")
	page = eve.opens(at, "What can be done")
	eve.does(eve.choose(page, "Roll back"), "Roll back: rolled-back", at, "rolled-back</span>")
}
