package e2e

import (
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/console"
)

// pause is how long a test does nothing before it looks again.
const pause = 100 * time.Millisecond

func (h *house) testSessions() {
	t := h.t
	olga := h.login("olga", true)
	id := h.parked(olga, "O-7")
	defer h.mends("pay")
	h.run("the token of another session", func() {
		other := h.login("olga", true)
		var token string
		other.evaluate(&token, `document.querySelector('input[name=token]').value`)
		olga.goTo("/saga?id=" + id)
		olga.click(link("Retry …"))
		olga.evaluate(nil, `document.querySelector('form[action="/do"] input[name=token]').value = '`+token+`'`)
		olga.because("as agreed")
		olga.click(button("Retry"))
		olga.shows(403, "This form is not of your session", "Nothing was done.")
		require.Contains(t, h.refused("olga"), "the form has not the session's token")

		olga.goTo("/saga?id=" + id)
		olga.click(link("Retry …"))
		fields := olga.fields()
		fields["token"], fields["reason"] = token, "another one's form"
		other.send("/do", fields)
		other.shows(409, "This form is not known any more")
		require.Zero(t, h.asked("saga retry", id))
	})
	h.run("another site", func() {
		olga.goTo("/saga?id=" + id)
		olga.click(link("Retry …"))
		fields := olga.fields()
		fields["reason"] = "from elsewhere"
		elsewhere := httptest.NewServer(nil)
		defer elsewhere.Close()
		olga.do(nil, "goto", map[string]any{"url": elsewhere.URL})
		olga.send(h.base+"/do", fields)
		olga.shows(403, "This form came from another site", "Nothing was done.")
		require.Zero(t, h.asked("saga retry", id))
	})
	h.run("a console that was started again", func() {
		base, first := h.console("127.0.0.1:0")
		p := h.b.open(base, true)
		p.goTo("/saga?id=" + id)
		p.enter("olga") // and comes to the page
		p.shows(200, "no card")
		p.click(link("Retry …"))
		first.stop()
		h.console(strings.TrimPrefix(base, "http://"))
		p.because("as agreed")
		p.click(button("Retry"))
		p.shows(401, "Your session has ended", "Nothing was done. Log in, and do it again.")
		require.Zero(t, h.asked("saga retry", id))
		p.click(link("Log in"))
		p.enter("olga")
	})
	h.run("half an hour later", func() {
		var later atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
		log := &tail{}
		c, err := console.New(t.Context(), console.Options{Users: strings.NewReader(h.userList), Environ: h.env, Log: log, Now: now})
		require.NoError(t, err)
		defer c.Close()
		web := httptest.NewServer(c)
		defer web.Close()
		defer c.End() // first: a page that is live is a request that goes on
		p := h.b.open(web.URL, true)
		p.goTo("/saga?id=" + id)
		p.enter("olga")
		later.Store(int64(29 * time.Minute))
		p.goTo("/sagas") // a page that somebody asks for
		p.shows(200, "olga (operator)")
		later.Store(int64(58 * time.Minute))
		p.goTo("/?auto=1&still=1") // one that the browser asks for, and that does not go to the login by itself
		p.shows(200, "olga (operator)")
		later.Store(int64(60 * time.Minute))
		p.goTo("/saga?id=" + id)
		require.NotContains(t, p.text(), "no card")
		require.Contains(t, p.see().URL, "/login?next=")
		p.enter("olga")
		p.shows(200, "no card")
		for _, cookie := range p.cookies() {
			require.True(t, cookie.HTTPOnly)
			require.Equal(t, "Strict", cookie.SameSite)
		}
	})
	h.run("a logout", func() {
		p := h.login("olga", true)
		// Her page hears that the session is over before the answer is there, and does not cut it off.
		audit := h.db.Begin()
		require.NoError(t, audit.Exec("LOCK holdfast_audit IN EXCLUSIVE MODE").Error)
		time.AfterFunc(3*time.Second, func() { audit.Rollback() })
		p.click(button("Log out"))
		require.True(t, strings.HasSuffix(p.see().URL, "/login"), "a reload would lead to /login?next=/")
		p.do(nil, "back", nil)
		require.Contains(t, p.see().URL, "/login")
		require.NotContains(t, p.text(), "olga (operator)")
	})
}

type cookie struct {
	HTTPOnly bool `json:"httpOnly"`
	SameSite string
}

func (p *tab) cookies() (all []cookie) {
	p.t.Helper()
	p.do(&all, "cookies", nil)
	require.NotEmpty(p.t, all)
	return all
}

// testWhatOthersWrote: names, errors and bodies that are pages themselves are shown as the
// text that they are, and if they were not, the browser would not run them.
func (h *house) testWhatOthersWrote() {
	t, orders := h.t, h.orders
	const evil = `<script>window.pwned=1;alert(1)</script><img src="http://evil.invalid/x" onerror="window.pwned=1"><a href="javascript:alert(2)">go</a>`
	p := h.login("ada", true)
	h.breaks("pay", "no card "+evil)
	h.breaks("payments", "no bank "+evil)
	key := h.key("X " + evil)
	id := orders.does(order{Saga: "order", Key: key})
	orders.does(order{Topic: "order.placed", Key: h.key("evil"), Body: `{"a":"` + strings.ReplaceAll(evil, `"`, `'`) + `"}`})
	var saga string
	p.until("/sagas?state=parked&key="+query(key), "the saga", func() bool { return p.count("td a") > 0 })
	p.evaluate(&saga, `document.querySelector('td a').getAttribute('href')`)
	letter := letterOf(p, h.key("evil"))
	p.finds(link(id))
	for _, path := range []string{"/", saga, "/letter?id=" + query(letter), "/dead", "/dead/list", "/sagas", "/search?q=" + query(evil), "/search?q=" + query(key),
		"/do?kind=saga&act=retry&id=" + query(id), "/do?kind=saga&act=" + query(evil), "/do?kind=dead&act=discard&id=" + query(letter), "/audit", "/login?next=" + query(evil)} {
		p.goTo(path)
		p.inert(path)
		if path == saga || strings.HasPrefix(path, "/letter") {
			require.Contains(t, p.text(), evil[:30], path)
		}
	}
	h.mends("pay")
	h.mends("payments")

	// The browser keeps the policy, whatever comes into a page.
	p.goTo("/")
	require.Equal(t, "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; script-src 'self'; connect-src 'self'",
		p.see().Headers["content-security-policy"])
	var stopped []string
	p.evaluate(&stopped, `new Promise((done) => {
		const stopped = [], add = (name, has) => document.body.append(Object.assign(document.createElement(name), has));
		document.addEventListener('securitypolicyviolation', (e) => {
			if (stopped.push(e.effectiveDirective) === 4) done(stopped.sort());
		});
		setTimeout(() => done(stopped.sort()), 60000);
		add('script', { textContent: 'window.pwned = 1' });
		add('script', { src: 'http://evil.invalid/s' });
		add('img', { src: 'http://evil.invalid/y' });
		add('iframe', { src: 'http://evil.invalid/z' });
	})`)
	require.Equal(t, []string{"frame-src", "img-src", "script-src-elem", "script-src-elem"}, stopped)
	p.inert("what was put into a page")
}

// inert asserts that nothing of what is in the pages of the tab has run, or was asked for.
func (p *tab) inert(what string) {
	p.t.Helper()
	var pwned bool
	p.evaluate(&pwned, `'pwned' in window`)
	require.False(p.t, pwned, what)
	seen := p.see()
	require.Empty(p.t, seen.Dialogs, what)
	for _, r := range seen.Requests {
		_, address, _ := strings.Cut(r, " ")
		require.True(p.t, strings.HasPrefix(address, p.base+"/"), "%s: %s", what, r)
	}
	require.Zero(p.t, p.count(`a[href^="javascript:"]`), what)
}
