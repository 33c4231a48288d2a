package site

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/login"
)

// entrance is the page by which people log in.
type entrance struct {
	Next  string // the page that they asked for
	Name  string
	Wrong string // why they are still here
	Once  string // lets in without a password
	// OIDC is where a login by the provider begins, Passwords says that there are users.
	OIDC      string
	Passwords bool
}

// ownPath is a path of this console; anything else is its first page.
func ownPath(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(path, "/") ||
		strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n\t") {
		return "/"
	}
	return path
}

// entranceTo is the page for somebody who goes on to a page then.
func (s *Site) entranceTo(next string) entrance {
	return entrance{Next: next, OIDC: s.oidcAddress(next), Passwords: s.Users != nil}
}

func (s *Site) loginPage(w http.ResponseWriter, r *http.Request) {
	next := ownPath(r.URL.Query().Get("next"))
	if _, ok := s.session(r, true); ok {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	s.goAhead(aheadLogin) // who logs in is shown it: it is looked at meanwhile
	s.render(w, r, http.StatusOK, login.Session{}, "login.html", "Log in", s.entranceTo(next))
}

func (s *Site) logIn(w http.ResponseWriter, r *http.Request) {
	name, next := r.PostForm.Get("name"), ownPath(r.PostForm.Get("next"))
	again := s.entranceTo(next)
	again.Name = name
	if s.Users == nil {
		again.Wrong = "There are no users with passwords here."
		s.render(w, r, http.StatusForbidden, login.Session{}, "login.html", "Log in", again)
		return
	}
	end, wait := s.limits.Begin(login.Source(r, s.Proxies), name)
	if wait > 0 {
		seconds := int((wait + time.Second - 1) / time.Second)
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		s.warn(r, "login refused: too many tries", "name", s.known(name))
		again.Wrong = "There were too many tries. Try again in " + strconv.Itoa(seconds) + " seconds."
		s.render(w, r, http.StatusTooManyRequests, login.Session{}, "login.html", "Log in", again)
		return
	}
	user, ok := s.Users.Check(name, r.PostForm.Get("password"))
	end(ok)
	if !ok {
		s.warn(r, "login refused: wrong name or password", "name", s.known(name))
		again.Wrong = "The name or the password is wrong."
		s.render(w, r, http.StatusUnauthorized, login.Session{}, "login.html", "Log in", again)
		return
	}
	s.enter(w, r, user)
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// known is a name for the log: what nobody is called may be a password.
func (s *Site) known(name string) string {
	if s.Users.Has(name) {
		return cut(name)
	}
	return "nobody's"
}

// oncePage asks whether to log in by an address that is good for one time: what only looks
// at addresses, such as a browser that fetches ahead, does not use it up.
func (s *Site) oncePage(w http.ResponseWriter, r *http.Request) {
	s.render(w, r, http.StatusOK, login.Session{}, "once.html", "Log in", entrance{Once: r.URL.Query().Get("token")})
}

func (s *Site) logInOnce(w http.ResponseWriter, r *http.Request) {
	user, ok := login.User{}, false
	if s.Once.Token() != "" {
		end, wait := s.limitOnce.Begin(login.Source(r, s.Proxies), "")
		if wait > 0 {
			s.say(w, r, http.StatusTooManyRequests, login.Session{}, message{Title: "There were too many tries"})
			return
		}
		user, ok = s.Once.Use(r.PostForm.Get("token"))
		end(ok)
	}
	if !ok {
		s.say(w, r, http.StatusForbidden, login.Session{}, message{Title: "This address is not good any more",
			Text: "It is good for one login. Start the console again to get another one."})
		return
	}
	s.enter(w, r, user)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *Site) logOut(w http.ResponseWriter, r *http.Request, of login.Session) {
	s.sessions.End(of)
	http.SetCookie(w, s.newCookie("", -1))
	s.note(r.Context(), audit.Entry{Who: of.Signed(), Role: of.Role.String(), Action: "logout", Outcome: audit.Done})
	s.left(w, r, of)
}
