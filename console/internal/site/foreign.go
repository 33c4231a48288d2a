package site

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/console/internal/oidc"
	"github.com/holdfastmq/holdfast/internal/brief"
)

// errorLogged is how many bytes the log has of an error of the login provider's.
const errorLogged = 500

// loginCookie is the name of the cookie that a login has at the provider's. Unlike the
// session's, it comes along when the provider sends the browser back.
func (s *Site) loginCookie() string { return s.cookie() + "-login" }

func (s *Site) newLoginCookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{Name: s.loginCookie(), Value: value, Path: "/", HttpOnly: true, Secure: s.Secure,
		SameSite: http.SameSiteLaxMode, MaxAge: maxAge}
}

// beginOIDC sends a browser to the provider.
func (s *Site) beginOIDC(w http.ResponseWriter, r *http.Request) {
	if s.OIDC == nil {
		s.say(w, r, http.StatusNotFound, login.Session{}, message{Title: "There is no login provider here"})
		return
	}
	// A page of any site can have a browser ask for this as a picture, say, as often as it likes.
	if dest := r.Header.Get("Sec-Fetch-Dest"); dest != "" && dest != "document" {
		s.say(w, r, http.StatusForbidden, login.Session{}, message{Title: "A login is a page of its own",
			Links: []link{{"Log in", "/login"}}})
		return
	}
	if !s.maySend(w, r) {
		return
	}
	to, cookie, err := s.OIDC.Begin(r.Context(), ownPath(r.URL.Query().Get("next")))
	if err != nil {
		s.notLoggedIn(w, r, err)
		return
	}
	http.SetCookie(w, s.newLoginCookie(cookie, int(oidc.Lasts.Seconds())))
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// maySend counts a try to log in, for which the provider is asked. It holds nobody else's up while
// that takes its time.
func (s *Site) maySend(w http.ResponseWriter, r *http.Request) bool {
	end, wait := s.limitOIDC.Begin(login.Source(r, s.Proxies), "")
	if wait > 0 {
		s.say(w, r, http.StatusTooManyRequests, login.Session{}, message{Title: "There were too many tries",
			Text: "Try again in a minute."})
		return false
	}
	end(true)
	return true
}

// endOIDC takes a browser back from the provider. Its session's cookie does not come along
// while another site leads it, so that a page of ours leads it on.
func (s *Site) endOIDC(w http.ResponseWriter, r *http.Request) {
	if s.OIDC == nil {
		s.say(w, r, http.StatusNotFound, login.Session{}, message{Title: "There is no login provider here"})
		return
	}
	cookie := ""
	if c, err := r.Cookie(s.loginCookie()); err == nil {
		cookie = c.Value
	}
	http.SetCookie(w, s.newLoginCookie("", -1))
	begun, err := s.OIDC.Accept(cookie, r.URL.Query().Get("state"))
	if err != nil { // nobody is asked: it costs no try
		s.notLoggedIn(w, r, err)
		return
	}
	if !s.maySend(w, r) {
		return
	}
	user, next, err := s.OIDC.End(r.Context(), begun, r.URL.Query())
	if err != nil {
		s.notLoggedIn(w, r, err)
		return
	}
	s.enter(w, r, user)
	next = ownPath(next)
	s.say(w, r, http.StatusOK, login.Session{}, message{Title: "You are logged in", Refresh: next, AtOnce: true,
		Text: "As " + user.Name + ", " + user.Role.String() + ".", Links: []link{{"Go on to the page", next}}})
}

// notLoggedIn says why the provider's login did not succeed.
func (s *Site) notLoggedIn(w http.ResponseWriter, r *http.Request, err error) {
	again := []link{{"Log in", "/login"}}
	var refused *oidc.RefusedError
	if errors.As(err, &refused) {
		if refused.Stray {
			s.warn(r, "login by OpenID Connect refused", "error", brief.Text(refused.Error(), errorLogged))
		} else { // the provider has had a part in it
			s.Log.Warn("login by OpenID Connect refused", "error", brief.Text(refused.Error(), errorLogged), "from",
				login.Source(r, s.Proxies))
		}
		s.say(w, r, http.StatusForbidden, login.Session{}, message{Title: "You are not logged in", Text: refused.Why + ".",
			Remedy: refused.Remedy, Links: again})
		return
	}
	s.warn(r, "login by OpenID Connect failed", "error", brief.Text(err.Error(), errorLogged))
	s.say(w, r, http.StatusServiceUnavailable, login.Session{}, message{Title: "The login provider does not answer",
		Text: "Who is logged in stays so. The console's log says more.", Remedy: "try again in a moment; where the " +
			"console has users of its own, they can log in with their passwords", Links: again})
}

// ofRequest is the key of a session that a request has without a cookie.
type ofRequest struct{}

// proxied logs in whom the trusted proxy names, and refuses its headers from anybody else.
func (s *Site) proxied(next http.Handler) http.Handler {
	if s.Proxy == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, there, err := s.Proxy.Login(r)
		switch {
		case errors.Is(err, login.ErrNoProxy):
			s.warn(r, "a header that only the proxy may set was refused", "peer", r.RemoteAddr)
			s.say(w, r, http.StatusForbidden, login.Session{}, message{Title: "This request was refused",
				Text: "It has a header that only the trusted proxy may set, and did not come from it."})
			return
		case err != nil:
			s.warn(r, "what the proxy says was refused", "error", cut(err.Error()))
			s.say(w, r, http.StatusBadRequest, login.Session{}, message{Title: "What the proxy says of you is refused",
				Text: err.Error() + "."})
			return
		case !there:
			if of, ok := s.session(r, false); ok && of.By == login.ByProxy {
				s.sessions.End(of) // its word is what the session is
			}
		case user.Role == login.Nobody:
			s.warn(r, "login by the proxy refused: no role", "name", cut(user.Name))
			s.say(w, r, http.StatusForbidden, login.Session{}, message{Title: "You have no role here",
				Text:   "The proxy says that you are " + user.Name + ", and none of your groups has a role.",
				Remedy: "ask who runs the console for a role"})
			return
		default:
			r = r.WithContext(context.WithValue(r.Context(), ofRequest{}, s.sessionOf(w, r, user)))
		}
		next.ServeHTTP(w, r)
	})
}

// sessionOf is the session of somebody whom the proxy names: the one that the browser has, or a
// new one.
func (s *Site) sessionOf(w http.ResponseWriter, r *http.Request, user login.User) login.Session {
	before, ok := s.session(r, r.URL.Query().Get("auto") == "")
	if ok && before.By == user.By && before.User == user.Name && before.Role == user.Role {
		return before
	}
	if ok {
		s.sessions.End(before)
	}
	id, of := s.sessions.Begin(user)
	http.SetCookie(w, s.newCookie(id, 0))
	if over, _ := s.refusals.Take("proxy " + of.Signed()); over == 0 { // who keeps no cookies comes often
		s.note(r.Context(), audit.Entry{Who: of.Signed(), Role: of.Role.String(), Action: "login", Outcome: audit.Done})
	}
	return of
}

// left is the page of somebody who has logged out.
func (s *Site) left(w http.ResponseWriter, r *http.Request, of login.Session) {
	switch {
	case of.By == login.ByProxy:
		s.say(w, r, http.StatusOK, login.Session{}, message{Title: "You are logged out here",
			Text: "The proxy logs you in again with the next page: log out there."})
	case of.By == login.ByOIDC && s.OIDC.LogoutURL() != "":
		s.say(w, r, http.StatusOK, login.Session{}, message{Title: "You are logged out here",
			Text:  "The login provider may still know you, and let you in again without a question.",
			Links: []link{{"Log out at the login provider, too", s.OIDC.LogoutURL()}, {"Log in", "/login"}}})
	default:
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	}
}

// oidcAddress is where a login by the provider begins; empty where there is none.
func (s *Site) oidcAddress(next string) string {
	if s.OIDC == nil {
		return ""
	}
	return "/login/oidc?" + url.Values{"next": {next}}.Encode()
}
