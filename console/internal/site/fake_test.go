package site

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/desk"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/internal/operator/vouch"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	deadflow "github.com/holdfastmq/holdfast/workflows/deadletters"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// began is when these tests happen.
var began = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// fakeDesk is an installation with what a test puts there.
type fakeDesk struct {
	mu          sync.Mutex
	found       doctor.Diagnosis
	unset       []string
	saga        sagas.Detail
	letter      deadletters.Detail
	groups      []deadletters.Group
	all         int // dead letters that Temporal counts; 0: those of groups
	parked      []transactions.Row
	consumers   desk.Consumers
	transaction transactions.Detail
	many        map[string]deadletters.Detail // dead letters that are acted on together
	manyFilter  deadletters.Filter
	bodies      map[string]string // of dead letters, by workflow
	rest        string            // of what is listed
	err         error             // of everything that is asked
	looks       int
	done        []string // what was asked for, and by whom
	onAct       func()
	acting      func(context.Context) (actions.Outcome, error) // nil: what is asked for is done
	onLetter    func(deadletters.Row, desk.Who) (actions.Outcome, error)
	looked      func(context.Context) // before each look at the saga
	opened      func()                // in the doctor's look
}

func (d *fakeDesk) Examine(context.Context) (doctor.Diagnosis, []string) {
	if d.opened != nil {
		d.opened()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.looks++
	return d.found, d.unset
}

func (d *fakeDesk) Sagas(_ context.Context, f sagas.Filter, _ int) ([]sagas.Row, string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil || d.saga.ID == "" || !f.All() && !contains(f.States, d.saga.State) {
		return nil, d.rest, d.err
	}
	return []sagas.Row{d.saga.Row}, d.rest, nil
}

func contains(all []string, one string) bool {
	return strings.Contains(" "+strings.Join(all, " ")+" ", " "+one+" ")
}

func (d *fakeDesk) Saga(ctx context.Context, id string) (sagas.Detail, error) {
	if d.looked != nil {
		d.looked(ctx)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return sagas.Detail{}, d.err
	}
	if id != d.saga.ID || id == "" {
		return sagas.Detail{}, text.NoSuch("saga", id)
	}
	seen := d.saga
	if seen.Status != nil { // as of a real one, its page has no data
		status := *seen.Status
		status.Core.Data = nil
		seen.Status = &status
	}
	return seen, nil
}

func (d *fakeDesk) SagaData(context.Context, sagas.Row) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.saga.Status == nil:
		return nil, errors.New("not known")
	case d.saga.Encrypted != "":
		return nil, errors.New(d.saga.Encrypted)
	}
	return d.saga.Status.Core.Data, d.err
}

func (d *fakeDesk) ActOnSaga(ctx context.Context, row sagas.Row, c sagas.Choice, who desk.Who) (actions.Outcome, error) {
	if d.acting != nil {
		return d.acting(ctx)
	}
	if d.onAct != nil {
		d.onAct()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, c.Act+" "+c.Step+" "+row.ID+" by "+who.Operator+": "+who.Reason)
	return actions.Outcome{ID: row.ID, Outcome: actions.Retried, Detail: "it is running"}, nil
}

func (d *fakeDesk) LetterGroups(context.Context, string, deadletters.Filter) (desk.LetterCount, error) {
	counted := desk.LetterCount{Groups: d.groups}
	for _, g := range d.groups {
		counted.Seen += g.Count
	}
	counted.All = max(counted.Seen, d.all)
	counted.More = counted.All > counted.Seen
	return counted, d.err
}

func (d *fakeDesk) Letters(context.Context, deadletters.Filter, int) ([]deadletters.Row, string, error) {
	return []deadletters.Row{d.letter.Row}, d.rest, d.err
}

func (d *fakeDesk) Letter(_ context.Context, id string) (deadletters.Detail, error) {
	if d.err == nil && id != d.letter.WorkflowID {
		return deadletters.Detail{}, text.NoSuch("dead letter", id)
	}
	return d.letter, d.err
}

func (d *fakeDesk) LettersTogether(_ context.Context, f deadletters.Filter, most int, skip func(deadletters.Detail) bool) (all []deadletters.Detail, more bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.manyFilter = f
	for _, id := range text.SortedKeys(d.many) {
		if !skip(d.many[id]) {
			all = append(all, d.many[id])
		}
	}
	return all[:min(len(all), most)], len(all) > most, d.err
}

func (d *fakeDesk) LetterNow(_ context.Context, id string) (deadletters.Detail, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.many[id]; !ok && d.err == nil {
		return deadletters.Detail{}, text.NoSuch("dead letter", id)
	}
	return d.many[id], d.err
}

func (d *fakeDesk) LetterBody(_ context.Context, row deadletters.Row) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if body, ok := d.bodies[row.WorkflowID]; ok {
		return []byte(body), nil
	}
	return nil, errors.New("encrypted: there is no key")
}

func (d *fakeDesk) ActOnLetter(_ context.Context, row deadletters.Row, act string, who desk.Who) (actions.Outcome, error) {
	if d.onLetter != nil {
		return d.onLetter(row, who)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, act+" "+row.WorkflowID+" by "+who.Operator+": "+who.Reason)
	return actions.Outcome{Outcome: actions.Handled}, nil
}

func (d *fakeDesk) Transactions(context.Context, transactions.Filter, int) ([]transactions.Row, string, error) {
	return d.parked, d.rest, d.err
}

func (d *fakeDesk) ActOnTransaction(_ context.Context, row transactions.Row, act string, who desk.Who) (actions.Outcome, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, act+" "+row.Name()+" by "+who.Operator+": "+who.Reason)
	return actions.Outcome{Outcome: actions.Committed}, nil
}

func (d *fakeDesk) ActOnConsumer(_ context.Context, name, act, lasts string, who desk.Who) (actions.Outcome, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, strings.TrimSpace(act+" "+lasts)+" "+name+" by "+who.Operator+": "+who.Reason)
	return actions.Outcome{Outcome: actions.Paused}, d.err
}

func (d *fakeDesk) Transaction(_ context.Context, id string) (transactions.Detail, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil && d.transaction.WorkflowID == id {
		return d.transaction, nil
	}
	return transactions.Detail{Row: transactions.Row{Tx: id, State: "committed"}}, d.err
}

func (d *fakeDesk) Consumers(context.Context) (desk.Consumers, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.looks++
	return d.consumers, d.err
}

func (d *fakeDesk) FindSaga(ctx context.Context, id string) (string, error) {
	if id == d.saga.Key {
		id = d.saga.ID
	}
	found, err := d.Saga(ctx, id)
	return found.ID, err
}

func (d *fakeDesk) FindLetter(ctx context.Context, id string) (string, error) {
	if id == d.letter.Key {
		id = d.letter.WorkflowID
	}
	found, err := d.Letter(ctx, id)
	return found.WorkflowID, err
}

func (d *fakeDesk) FindTransaction(context.Context, string) (string, error) {
	if d.err != nil {
		return "", d.err
	}
	return "", holdfast.ErrNotFound
}

func (d *fakeDesk) acts() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.done...)
}

// change has the saga stand as it says.
func (d *fakeDesk) change(how func(*sagas.Detail)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	how(&d.saga)
}

const sagaID, letterID = "saga/orders/piece/A-1007", "dead/payments/m-1"

// parkedSaga is a saga whose step pay has failed.
func parkedSaga(t *testing.T) sagas.Detail {
	t.Helper()
	p, err := core.Plan{Name: "piece", Version: 2, Steps: []core.Step{
		{Name: "create", Kind: core.Local, Undo: true},
		{Name: "pay", Kind: core.Local, Undo: true, OnFailure: core.Park},
	}}.Complete()
	require.NoError(t, err)
	m := core.New(&p, []byte(`{}`))
	m.Begin(began)
	for _, e := range []core.Event{{Step: "create", Outcome: core.Outcome{Kind: core.OutcomeDone}},
		{Step: "pay", Outcome: core.Outcome{Kind: core.OutcomeFailed, Class: holdfast.ClassPermanent, Error: "no card"}}} {
		e.Kind, e.At = core.DoEnded, began
		_, err := m.Apply(e)
		require.NoError(t, err)
	}
	return sagas.Detail{Row: sagas.Row{ID: sagaID, Group: "orders", Name: "piece", Key: "A-1007", State: core.StateParked,
		Step: "pay", Reason: "no card", Started: began, WorkflowID: sagaID},
		Status: &sagaflow.Status{Plan: p, Core: *m.State()},
		Choices: []sagas.Choice{{Act: sagaflow.UpdateRetry}, {Act: sagaflow.UpdateSkip, Step: "pay"},
			{Act: workflows.UpdateCompensate}}}
}

func parkedLetter() deadletters.Detail {
	d := deadletters.Detail{Row: deadletters.Row{ID: "m-1", Consumer: "payments", Topic: "order.placed", Key: "A-1",
		State: string(workflows.Parked), Reason: "no card", Started: began, WorkflowID: letterID}, Queue: "holdfast.q.payments",
		Message: transactions.MessageDetail{ID: "m-1", ContentType: "application/json", Text: `{"total":12,"who":"ann"}`, Size: 24}}
	d.Status = &deadflow.Status{State: workflows.Parked, Group: "orders", Reason: "payments gave it up",
		Actions: []string{"redeliver", "compensate", "discard", "redeliver-edited"}}
	return d
}

// brittle is an audit that may fail.
type brittle struct {
	audit.Log
	mu   sync.Mutex
	fail error
}

func (b *brittle) Add(ctx context.Context, e audit.Entry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := cmp.Or(b.fail, ctx.Err()); err != nil {
		return err
	}
	return b.Log.Add(ctx, e)
}

func (b *brittle) breaks(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = err
}

// logged is what was logged.
type logged struct {
	mu  sync.Mutex
	out strings.Builder
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(line)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

var errAway = errors.New("PostgreSQL is away")

// house is a console with its users.
type house struct {
	t     *testing.T
	desk  *fakeDesk
	audit *brittle
	once  *login.Once
	log   *logged
	site  *Site
	web   *httptest.Server
	clock struct {
		sync.Mutex
		at time.Time
	}
}

const password = "correct horse"

var passwordHash = sync.OnceValue(func() string {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	return string(hash)
})

func newHouse(t *testing.T) *house {
	t.Helper()
	h := build(t)
	h.web = httptest.NewServer(h.site)
	t.Cleanup(h.web.Close)
	return h
}

// build makes a console that nothing serves yet.
func build(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, desk: &fakeDesk{saga: parkedSaga(t), letter: parkedLetter()}, log: &logged{}}
	h.clock.at = began
	h.once = login.NewOnce("dev", h.now)
	h.audit = &brittle{Log: audit.NewLines(io.Discard, h.now)}
	var file strings.Builder
	for _, name := range []string{"viewer", "operator", "admin"} {
		file.WriteString(name + ":" + name + ":" + passwordHash() + "\n")
	}
	users, err := login.ReadUsersOfCost(strings.NewReader(file.String()), bcrypt.MinCost)
	require.NoError(t, err)
	h.site = New(Options{Desk: h.desk, Audit: h.audit, Users: users, Once: h.once, Prefix: "holdfast", Now: h.now,
		Log: slog.New(slog.NewTextHandler(h.log, nil))})
	return h
}

func (h *house) now() time.Time {
	h.clock.Lock()
	defer h.clock.Unlock()
	return h.clock.at
}

func (h *house) pass(d time.Duration) {
	h.clock.Lock()
	defer h.clock.Unlock()
	h.clock.at = h.clock.at.Add(d)
}

// entries are those of the audit, the oldest first, without the logins.
func (h *house) entries() (all []audit.Entry) {
	h.t.Helper()
	last, err := h.audit.Last(h.t.Context(), 1000, 0)
	require.NoError(h.t, err)
	for _, e := range last {
		if e.Action != "login" {
			all = append([]audit.Entry{e}, all...)
		}
	}
	return all
}

// browser is somebody at a browser, who does not follow redirects by himself.
type browser struct {
	h *house
	c *http.Client
}

// answer is what a browser got.
type answer struct {
	status int
	body   string
	to     string // where it is sent
	header http.Header
}

func (h *house) browser() *browser {
	jar, err := cookiejar.New(nil)
	require.NoError(h.t, err)
	return &browser{h, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
}

// as is somebody who has logged in.
func (h *house) as(name string) *browser {
	b := h.browser()
	got := b.post("/login", url.Values{"name": {name}, "password": {password}})
	require.Equal(h.t, http.StatusSeeOther, got.status, got.body)
	return b
}

func (b *browser) get(path string) answer { return b.send(http.MethodGet, path, nil, nil) }

func (b *browser) post(path string, form url.Values) answer {
	return b.send(http.MethodPost, path, form, http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {b.h.web.URL}})
}

func (b *browser) send(method, path string, form url.Values, header http.Header) answer {
	b.h.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(b.h.t.Context(), method, b.h.web.URL+path, body)
	require.NoError(b.h.t, err)
	for name, values := range header {
		r.Header[name] = values
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	got, err := b.c.Do(r)
	require.NoError(b.h.t, err)
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(got.Body)
	require.NoError(b.h.t, err)
	return answer{got.StatusCode, string(text), got.Header.Get("Location"), got.Header}
}

// id is the session's ID, which is the browser's own.
func (b *browser) id() string {
	u, err := url.Parse(b.h.web.URL)
	require.NoError(b.h.t, err)
	for _, c := range b.c.Jar.Cookies(u) {
		if c.Name == "holdfast" {
			return c.Value
		}
	}
	return ""
}

var hidden = regexp.MustCompile(`<input type="hidden"(?: id="[^"]*")? name="(\w+)" value="([^"]*)">`)

// fields are the hidden fields of the form that does something on a page.
func fields(t *testing.T, page, action string) url.Values {
	t.Helper()
	_, form, there := strings.Cut(page, `action="`+action+`"`)
	require.True(t, there, page)
	form, _, _ = strings.Cut(form, "</form>")
	values := url.Values{}
	for _, found := range hidden.FindAllStringSubmatch(form, -1) {
		values.Set(found[1], found[2])
	}
	return values
}

// confirm opens the page that asks for confirmation, and fills in its form.
func (b *browser) confirm(query string) url.Values {
	b.h.t.Helper()
	page := b.get("/do?" + query)
	require.Equal(b.h.t, http.StatusOK, page.status, page.body)
	form := fields(b.h.t, page.body, "/do")
	form.Set("reason", "as agreed")
	return form
}

const retrySaga = "kind=saga&id=" + sagaID + "&act=retry"

func (d *fakeDesk) Named(_ context.Context, o vouch.Order) (string, error) {
	if o.Run == "another" {
		return "", errors.New("no such run")
	}
	return strings.TrimPrefix(o.ID, "other words for "), nil
}

func (d *fakeDesk) Carry(_ context.Context, o vouch.Order, who desk.Who) (actions.Outcome, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, o.Act+" "+o.ID+" by "+who.Operator+": "+who.Reason)
	return actions.Outcome{ID: o.ID, WorkflowID: o.ID, Outcome: actions.Retried}, d.err
}
