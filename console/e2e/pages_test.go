package e2e

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/stretchr/testify/require"
)

// quote is a text as JavaScript writes it.
func quote(s string) string { return strconv.Quote(s) }

// query is a text as a part of an address.
func query(s string) string { return url.QueryEscape(s) }

// picturesEnv says that the pictures of the documentation are to be made anew.
const picturesEnv = "HOLDFAST_CONSOLE_PICTURES"

func pictures() bool { return os.Getenv(picturesEnv) != "" }

// testKeyboard: somebody without a mouse logs in, finds a dead letter and discards it.
func (h *house) testKeyboard() {
	t, orders := h.t, h.orders
	h.breaks("payments", "no keyboard")
	defer h.mends("payments")
	orders.does(order{Topic: "order.placed", Key: h.key("K-1"), Body: `{}`})
	letter := letterOf(h.login("olga", true), h.key("K-1"))

	p := h.b.open(h.base, true)
	p.goTo("/login")
	p.tabTo(`e.matches("input#name")`)
	p.write("olga")
	p.press("Tab", false)
	p.write(password)
	p.press("Enter", true)
	p.finds(`tr:has-text("no keyboard")`)
	p.press("Tab", false)
	require.True(t, p.focused("a.skip"), "first of all, the header can be skipped")
	p.tabTo(`e.href && new URL(e.href).searchParams.get("id") === ` + quote(letter))
	p.press("Enter", true)
	p.shows(200, "no keyboard", "What can be done")
	p.tabTo(`e.matches("a.button[href*='act=discard']")`)
	p.press("Enter", true)
	p.because("nobody needs it")
	p.press("Enter", true)
	p.shows(200, "Discard: discarded")
	require.Zero(t, p.clicks)
	require.EqualValues(t, 1, h.asked("dead discard", letter))
}

// focused reports whether the cursor is on what a selector of CSS means.
func (p *tab) focused(selector string) (is bool) {
	p.t.Helper()
	p.evaluate(&is, `document.activeElement.matches(`+quote(selector)+`)`)
	return is
}

// tabTo presses Tab until what a condition in JavaScript means, of an element e, has the focus,
// which can be seen.
func (p *tab) tabTo(condition string) {
	p.t.Helper()
	for range 200 {
		var is bool
		if p.evaluate(&is, `((e) => Boolean(`+condition+`))(document.activeElement)`); is {
			var outline string
			p.evaluate(&outline, `getComputedStyle(document.activeElement).outlineStyle`)
			require.NotEqual(p.t, "none", outline, "the focus can be seen: %s", condition)
			return
		}
		p.press("Tab", false)
	}
	require.FailNow(p.t, "Tab does not lead to what is so: "+condition, p.text())
}

// page is one to look at. picture says that the documentation has its picture.
type page struct {
	name, path string
	picture    bool
	tab        *tab // that shows it; nil: that of ada
}

// testPages looks at all pages: for whom they are hard to use, on a telephone, and in the
// dark.
func (h *house) testPages() {
	t, orders := h.t, h.orders
	p := h.login("ada", true)
	h.breaks("payments", "the bank is closed")
	defer h.mends("payments")
	for _, name := range []string{"P-1", "P-2"} {
		orders.does(order{Topic: "order.placed", Key: h.key(name), Body: `{"total":12,"items":["a long one, which nobody buys"]}`})
	}
	saga := h.parked(p, "O-8")
	defer h.mends("pay")
	tx := orders.does(order{Topic: "order.odd", Key: h.key("T-2"), Undecided: true})
	letter := letterOf(p, h.key("P-1"))
	p.finds(link(tx))
	p.finds(link(saga))
	p.goTo("/do?kind=saga&act=retry&id=" + query(saga))
	p.because("as agreed")
	p.click(button("Retry"))
	done := p.see().URL[len(h.base):]
	p.opens("/saga?id="+query(saga), "parked")

	other, run := h.waitsForAnother()
	for i, page := range []page{
		{name: "run", path: run, picture: true, tab: other}, {name: "login-oidc", path: "/login?next=%2F", picture: true, tab: h.b.open(other.base, true)},
		{name: "tokens", path: "/tokens", picture: true}, {name: "consumer-paused", path: h.pausedBy(p), picture: true},
		{name: "home", path: "/", picture: true}, {name: "sagas", path: "/sagas", picture: true}, {name: "saga", path: "/saga?id=" + query(saga), picture: true}, {name: "dead-letters", path: "/dead", picture: true},
		{name: "dead-list", path: "/dead/list"}, {name: "dead-letter", path: "/letter?id=" + query(letter), picture: true}, {name: "transaction", path: "/transaction?id=" + query(tx), picture: true},
		{name: "transactions", path: "/transactions"}, {name: "consumers", path: "/consumers", picture: true}, {name: "consumer", path: "/consumer?name=payments"},
		{name: "search", path: "/search?q=" + query(h.key("O-8"))}, {name: "not-found", path: "/search?q=nobody"}, {name: "audit", path: "/audit", picture: true},
		{name: "confirm", path: "/do?kind=saga&act=compensate&id=" + query(saga), picture: true}, {name: "done", path: done, picture: true}, {name: "error", path: "/saga?id=nobody"},
		{name: "refused", path: "/do?kind=saga&act=resume&id=" + query(saga)}, {name: "login", path: "/login?next=%2F", picture: true, tab: h.b.open(h.base, true)},
	} {
		h.run(page.name, func() {
			p := p
			if page.tab != nil {
				p = page.tab
			}
			p.do(nil, "size", map[string]any{"width": wide, "height": high})
			p.do(nil, "scheme", map[string]any{"value": "light"})
			p.goTo(page.path)
			if whole() || i%2 == 0 {
				p.axe(page)
				p.picture(page)
			}
			if !whole() && i%2 == 0 {
				return
			}
			p.do(nil, "scheme", map[string]any{"value": "dark"})
			p.do(nil, "size", map[string]any{"width": 375, "height": 700})
			p.axe(page)
			var overflows int
			p.evaluate(&overflows, `document.documentElement.scrollWidth - window.innerWidth`)
			require.LessOrEqual(t, overflows, 0, "a telephone has to be scrolled sideways")
		})
	}
	h.run("a first page that stays", func() {
		p.goTo("/")
		require.Equal(t, 1, p.count(`#live`))
		p.click(link("keep it as it is"))
		p.shows(200, "What needs a person")
		require.Zero(t, p.count(`#live`))
		p.axe(page{name: "home that stays"})
		p.click(link("Look again by itself"))
		require.Equal(t, 1, p.count(`#live`))
		plain := h.login("ada", false)
		require.Equal(t, 1, plain.count(`meta[http-equiv="refresh"]`))
	})
}

// pausedBy has somebody pause the consumer mailer, and returns that one's page.
func (h *house) pausedBy(p *tab) (path string) {
	h.t.Helper()
	path = "/consumer?name=mailer"
	p.opens(path, "Pause")
	p.click(link("Pause …"))
	p.because("the mail provider has asked for it")
	p.click(button("Pause"))
	p.opens(path, "paused by hand")
	return path
}

// waitsForAnother begins a run that a second person has to let go on, at a console where
// that is so, which has a login provider, too. It returns a second person's tab, and the run's page.
func (h *house) waitsForAnother() (second *tab, path string) {
	h.t.Helper()
	base, _ := h.console("127.0.0.1:0", "--approve-over", "1", "--oidc-issuer", "https://login.example.com/realms/main", "--oidc-client", "holdfast-console",
		"--oidc-redirect", "https://console.example.com/login/oidc/callback", "--operators", "on-call")
	h.breaks("payments", "the shop has moved")
	first := h.b.open(base, true)
	first.goTo("/dead")
	first.enter("olga")
	for _, name := range []string{"P-3", "P-4", "P-5"} {
		h.orders.does(order{Topic: "order.placed", Key: h.key(name), Body: `{}`})
		letterOf(first, h.key(name))
	}
	discard := `tr:has-text("the shop has moved") >> ` + link("Discard …")
	first.until("/dead?by=error&consumer=payments", "all three", func() bool { return first.count(`tr:has(td.number:text-is("3")):has-text("the shop has moved")`) > 0 })
	first.click(discard)
	first.because("nobody needs them")
	first.click(button("Discard together"))
	path = first.see().URL[len(base):]
	first.opens(path, "Whether it goes on is for")
	second = h.b.open(base, true)
	second.goTo("/dead")
	second.enter("oskar")
	second.opens(path, "Discard the other 2")
	return second, path
}

// axe asserts that axe-core finds nothing serious.
func (p *tab) axe(of page) {
	p.t.Helper()
	but := []string{}
	if slices.Contains([]string{"home", "consumers", "consumer", "consumer-paused"}, of.name) {
		but = append(but, "meta-refresh") // there is a link that ends it
	}
	var found []string
	p.do(&found, "axe", map[string]any{"but": but})
	require.Empty(p.t, found)
}

// picture makes the picture of a page for the documentation, if that is asked for.
func (p *tab) picture(of page) {
	p.t.Helper()
	if !pictures() || !of.picture {
		return
	}
	path, err := filepath.Abs(filepath.Join("..", "..", "docs", "images", "console-"+of.name+".png"))
	require.NoError(p.t, err)
	p.do(nil, "size", map[string]any{"width": 1100, "height": 100}) // and all of the page's height
	p.do(nil, "shot", map[string]any{"path": path})
	p.do(nil, "size", map[string]any{"width": wide, "height": high})
}
