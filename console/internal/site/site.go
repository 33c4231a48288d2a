// Package site is the console's pages: who may see them, what is on them, and the forms by
// which operators act. Whatever they show or do comes from a Desk. A page is HTML that needs no
// script; what others wrote is inert on it.
package site

import (
	"context"
	"hash/maphash"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"go.temporal.io/sdk/converter"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/batch"
	"github.com/holdfastmq/holdfast/console/internal/confirm"
	"github.com/holdfastmq/holdfast/console/internal/desk"
	"github.com/holdfastmq/holdfast/console/internal/glance"
	"github.com/holdfastmq/holdfast/console/internal/live"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/console/internal/oidc"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/doctor"
	"github.com/holdfastmq/holdfast/internal/operator/sagas"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/internal/operator/vouch"
)

// Desk is the installation that the pages are about; package desk has the real one. An error
// of an Act says that nothing was sent.
type Desk interface {
	Examine(ctx context.Context) (found doctor.Diagnosis, unset []string)
	Sagas(ctx context.Context, f sagas.Filter, limit int) (rows []sagas.Row, rest string, err error)
	Saga(ctx context.Context, id string) (sagas.Detail, error)
	SagaData(ctx context.Context, row sagas.Row) ([]byte, error)
	ActOnSaga(ctx context.Context, row sagas.Row, c sagas.Choice, who desk.Who) (actions.Outcome, error)
	LetterGroups(ctx context.Context, by string, f deadletters.Filter) (desk.LetterCount, error)
	Letters(ctx context.Context, f deadletters.Filter, limit int) (rows []deadletters.Row, rest string, err error)
	Letter(ctx context.Context, id string) (deadletters.Detail, error)
	LettersTogether(ctx context.Context, f deadletters.Filter, most int, skip func(deadletters.Detail) bool) (
		all []deadletters.Detail, more bool, err error)
	LetterBody(ctx context.Context, row deadletters.Row) ([]byte, error)
	LetterNow(ctx context.Context, workflowID string) (deadletters.Detail, error)
	ActOnLetter(ctx context.Context, row deadletters.Row, act string, who desk.Who) (actions.Outcome, error)
	Transactions(ctx context.Context, f transactions.Filter, limit int) (rows []transactions.Row, more string, err error)
	Transaction(ctx context.Context, id string) (transactions.Detail, error)
	ActOnTransaction(ctx context.Context, row transactions.Row, act string, who desk.Who) (actions.Outcome, error)
	Consumers(ctx context.Context) (desk.Consumers, error)
	Named(ctx context.Context, o vouch.Order) (name string, err error)
	Carry(ctx context.Context, o vouch.Order, who desk.Who) (actions.Outcome, error)
	ActOnConsumer(ctx context.Context, name, act, lasts string, who desk.Who) (actions.Outcome, error)
	FindSaga(ctx context.Context, id string) (string, error)
	FindLetter(ctx context.Context, id string) (string, error)
	FindTransaction(ctx context.Context, id string) (string, error)
}

// Options are what a site is made of. Of Users, Once, OIDC and Proxy one is enough.
type Options struct {
	Desk  Desk
	Audit audit.Log
	// Users may log in with a password; Once lets somebody in without one.
	Users *login.Users
	Once  *login.Once
	// OIDC logs in by a provider of OpenID Connect, Proxy whom a trusted proxy names; nil:
	// neither does.
	OIDC  *oidc.Provider
	Proxy *login.Proxy
	// ApproveOver is on how many things an operator may act within approveWindow without a
	// second person, in runs and by tokens; 0: on any number.
	ApproveOver int
	// ApproveWhen says whether a second person has to agree to an act on something, and why; nil:
	// none has.
	ApproveWhen func(Item) (bool, string)
	// Secure says that browsers reach the site by TLS only, Loopback that it is served on
	// loopback only: by any name but localhost, it is another site's page that asks.
	Secure, Loopback bool
	// Proxies are those whose word counts for where a request comes from.
	Proxies []netip.Prefix
	// Prefix is the installation's, for people to read.
	Prefix string
	Now    func() time.Time
	Log    *slog.Logger
	// Codec shows Temporal's web UI, whose origin is CodecOrigin, what is encrypted. Nil,
	// or an empty origin: there is none.
	Codec       converter.PayloadCodec
	CodecOrigin string
	// Ahead has everything looked at before the first page asks for it, so that nobody waits for the
	// processes' answers; without it, a page shows what is so when it is asked for.
	Ahead bool
	// After is what waits between looks at a page that is live. Nil: time.After.
	After func(time.Duration) <-chan time.Time
}

const (
	// pageTime is how long what a page shows may take, actTime how long an action may,
	// and noteTime how long the audit may of what has happened.
	pageTime, actTime, noteTime = 20 * time.Second, 90 * time.Second, 10 * time.Second
	// homeTime is how long the look at everything may take, homeFresh how long it is
	// shown to others.
	homeTime, homeFresh = 10 * time.Second, 5 * time.Second
	// Where looks go ahead, a page that is kept up to date begins with one of up to aheadShown ago.
	// While somebody uses the console one begins every aheadEvery, so that there is one; while
	// somebody who may be anybody is about to log in, every aheadLogin.
	aheadShown, aheadEvery, aheadLogin = 30 * time.Second, 20 * time.Second, time.Minute
	// maxForm is how many bytes a form may have.
	maxForm = 64 << 10
	// refusalsNoted is how many refusals of one user the audit takes within
	// refusalsWindow: the log counts the others.
	refusalsNoted, refusalsWindow = 20, time.Hour
	// approveWindow is how long what an operator acts on is added up, so that many small runs
	// count as one.
	approveWindow = time.Hour
	// warnWindow is how long nothing more is logged of what is refused to a source.
	warnWindow = 5 * time.Minute
)

// Site serves the pages.
type Site struct {
	Options
	sessions  *login.Sessions
	tokens    *login.Tokens
	limits    *login.Limits // of passwords, logins by OpenID Connect, and the one that is good once
	limitOIDC *login.Limits
	limitOnce *login.Limits
	refusals  *login.Budget // for the audit, by user
	warnings  *login.Budget // for the log, by what is warned of and by source
	alone     *login.Budget // what is done without a second person, by operator
	forms     *confirm.Book
	runs      *batch.Book
	seed      maphash.Seed
	home      *glance.Glance[seen]
	consumers *glance.Glance[consumersSeen]
	live      *live.Hub
	pages     map[string]livePage // that are kept up to date, by path
	after     func(time.Duration) <-chan time.Time
	origin    *http.CrossOriginProtection
	handler   http.Handler
}

// New returns a site.
func New(o Options) *Site {
	s := &Site{Options: o, sessions: login.NewSessions(o.Now), tokens: login.NewTokens(o.Now),
		limits: login.NewLimits(o.Now), limitOIDC: login.NewLimits(o.Now), limitOnce: login.NewLimits(o.Now),
		refusals: login.NewBudget(o.Now, refusalsNoted, refusalsWindow),
		warnings: login.NewBudget(o.Now, 1, warnWindow),
		alone:    login.NewBudget(o.Now, o.ApproveOver, approveWindow),
		forms:    confirm.NewBook(o.Now),
		runs:     batch.NewBook(o.Now),
		seed:     maphash.MakeSeed(),
		origin:   http.NewCrossOriginProtection()}
	s.home = glance.New(homeTime, homeFresh, o.Now, s.look)
	s.consumers = glance.New(homeTime, homeFresh, o.Now, s.lookAtConsumers)
	if s.after = o.After; s.after == nil {
		s.after = time.After
	}
	s.live, s.pages = live.New(liveStreams, liveOfOne, liveOfUser, o.Now, s.after), s.livePages()
	mux := http.NewServeMux()
	for name := range staticFiles {
		mux.HandleFunc("GET "+name, serveStatic)
	}
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("GET /login", s.loginPage)
	mux.HandleFunc("POST /login", s.sent(s.logIn))
	mux.HandleFunc("GET /login/once", s.oncePage)
	mux.HandleFunc("POST /login/once", s.sent(s.logInOnce))
	mux.HandleFunc("GET /login/oidc", s.beginOIDC)
	mux.HandleFunc("GET "+oidc.Path, s.endOIDC)
	mux.HandleFunc("POST /logout", s.form(login.Viewer, s.logOut))
	mux.HandleFunc("GET /tokens", s.page(login.Operator, s.tokensPage))
	mux.HandleFunc("POST /tokens", s.form(login.Operator, s.makeToken))
	mux.HandleFunc("POST /tokens/revoke", s.form(login.Operator, s.revokeToken))
	mux.HandleFunc("GET "+vouch.WhoPath, s.bearer(s.apiWho))
	mux.HandleFunc("POST "+vouch.ActPath, s.bearer(s.apiAct))
	mux.HandleFunc("POST "+vouch.EndPath, s.bearer(s.apiEnd))

	mux.HandleFunc("GET /{$}", s.page(login.Viewer, s.homePage))
	mux.HandleFunc("GET /sagas", s.page(login.Viewer, s.sagasPage))
	mux.HandleFunc("GET /saga", s.page(login.Viewer, s.sagaPage))
	mux.HandleFunc("GET /dead", s.page(login.Viewer, s.groupsPage))
	mux.HandleFunc("GET /dead/list", s.page(login.Viewer, s.lettersPage))
	mux.HandleFunc("GET /dead/run", s.page(login.Viewer, s.runPage))
	mux.HandleFunc("POST /dead/run", s.form(login.Operator, s.steerRun))
	mux.HandleFunc("GET /letter", s.page(login.Viewer, s.letterPage))
	mux.HandleFunc("GET /consumers", s.page(login.Viewer, s.consumersPage))
	mux.HandleFunc("GET /consumer", s.page(login.Viewer, s.consumerPage))
	mux.HandleFunc("GET /transactions", s.page(login.Viewer, s.transactionsPage))
	mux.HandleFunc("GET /transaction", s.page(login.Viewer, s.transactionPage))
	mux.HandleFunc("GET /search", s.page(login.Viewer, s.searchPage))
	mux.HandleFunc("GET /do", s.page(login.Operator, s.confirmPage))
	mux.HandleFunc("POST /do", s.form(login.Operator, s.do))
	mux.HandleFunc("GET /done", s.page(login.Operator, s.donePage))
	mux.HandleFunc("GET /audit", s.page(login.Admin, s.auditPage))
	mux.Handle("/codec/", s.codec())
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.say(w, r, http.StatusNotFound, login.Session{}, message{Title: "There is no such page"})
	})
	s.handler = headers(s.ownHost(s.proxied(mux)), o.Secure)
	return s
}

// ServeHTTP implements http.Handler.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// EndLive ends what keeps pages up to date: requests that would go on.
func (s *Site) EndLive() { s.live.End() }

// End has nothing more done, and waits for the actions that are under way.
func (s *Site) End() {
	s.EndLive()
	s.runs.End() // which act by forms' leave
	s.forms.End()
}
