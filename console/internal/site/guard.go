package site

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/brief"
)

// policy lets a page have the console's own style and forms, and nothing else: no script, no
// frame, nothing of another site.
const policy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; " +
	"frame-ancestors 'none'"

// livePolicy is that of a page that is kept up to date: it has the console's own script, too, which
// asks the console.
const livePolicy = policy + "; script-src 'self'; connect-src 'self'"

// headers sets what every answer has.
func headers(next http.Handler, secure bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin") // with less, browsers do not say where a form comes from
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if secure {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// ownHost refuses what was asked by another name, where there is only localhost: a page of
// another site, whose name leads to loopback, is of the same origin as it.
func (s *Site) ownHost(next http.Handler) http.Handler {
	if !s.Loopback {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		at, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if !strings.EqualFold(host, "localhost") && (err != nil || !at.IsLoopback()) {
			s.warn(r, "a request for another host was refused", "host", cut(r.Host))
			http.Error(w, "The console is at localhost.", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// cut is the beginning of what anybody can write, for the log.
func cut(s string) string { return brief.Text(s, 67) }

// warn logs that something was refused to who need not be anybody: once for each source, in a
// while.
func (s *Site) warn(r *http.Request, what string, args ...any) {
	from := login.Source(r, s.Proxies)
	over, before := s.warnings.Take(what + " " + from)
	if over > 0 {
		return
	}
	if before > 0 {
		args = append(args, "not logged before", before)
	}
	s.Log.Warn(what, append(args, "from", from)...)
}

// handler serves somebody who is logged in.
type handler func(w http.ResponseWriter, r *http.Request, of login.Session)

// page serves a page to those who may see it.
func (s *Site) page(role login.Role, next handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		of, ok := s.session(r, r.URL.Query().Get("auto") == "")
		if !ok {
			http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
			return
		}
		if !of.Role.May(role) {
			q := r.URL.Query()
			action := "page " + r.URL.Path
			if q.Has("act") {
				action = q.Get("kind") + " " + q.Get("act")
			}
			s.refuse(r, of, action, q.Get("id"), q.Get("step"), "the role "+of.Role.String()+" may not do that")
			s.say(w, r, http.StatusForbidden, of, message{Title: "You may not do that",
				Text: "It is for the role " + role.String() + "; yours is " + of.Role.String() + ". Nothing was done."})
			return
		}
		s.goAhead(aheadEvery) // most go there next
		ctx, cancel := context.WithTimeout(r.Context(), pageTime)
		defer cancel()
		next(w, r.WithContext(ctx), of)
	}
}

// sent serves a form that came from one of the console's own pages.
func (s *Site) sent(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := s.origin.Check(r); err != nil {
			if of, ok := s.session(r, false); ok {
				s.refuse(r, of, "form "+r.URL.Path, "", "", "it came from another site")
			} else { // anybody can send these: they must not fill a table
				s.warn(r, "a form of another site was refused", "path", cut(r.URL.Path))
			}
			s.say(w, r, http.StatusForbidden, login.Session{}, message{Title: "This form came from another site",
				Text: "Nothing was done."})
			return
		}
		if err := r.ParseForm(); err != nil {
			s.say(w, r, http.StatusBadRequest, login.Session{}, message{Title: "This form cannot be read",
				Text: "Nothing was done."})
			return
		}
		next(w, r)
	}
}

// form serves a form of somebody who is logged in, may send it, and got it from a page of the
// same session.
func (s *Site) form(role login.Role, next handler) http.HandlerFunc {
	return s.sent(func(w http.ResponseWriter, r *http.Request) {
		of, ok := s.session(r, true)
		if !ok {
			s.say(w, r, http.StatusUnauthorized, login.Session{}, message{Title: "Your session has ended",
				Text: "Nothing was done. Log in, and do it again.", Links: []link{{"Log in", "/login"}}})
			return
		}
		about, _ := s.forms.Find(of.Key, r.PostForm.Get("form"))
		action := about.Kind + " " + about.Act
		if about.Kind == "" {
			action = "form " + r.URL.Path
		}
		if !of.Sent(r.PostForm.Get("token")) {
			s.refuse(r, of, action, about.Target, about.Step, "the form has not the session's token")
			s.say(w, r, http.StatusForbidden, of, message{Title: "This form is not of your session",
				Text: "Nothing was done. Open the page again."})
			return
		}
		if !of.Role.May(role) {
			s.refuse(r, of, action, about.Target, about.Step, "the role "+of.Role.String()+" may not do that")
			s.say(w, r, http.StatusForbidden, of, message{Title: "You may not do that",
				Text: "It is for the role " + role.String() + "; yours is " + of.Role.String() + ". Nothing was done."})
			return
		}
		defer s.changed()
		next(w, r, of)
	})
}

// refuse notes an action that was refused. It is refused whether that can be noted or not. The
// audit takes so many of a user: what he asks for in vain must not push out what was done.
func (s *Site) refuse(r *http.Request, of login.Session, action, target, step, why string) {
	s.noteVain(r.Context(), of, audit.Entry{Who: of.Signed(), Role: of.Role.String(), Action: strings.TrimSpace(action),
		Target: target, Step: step, Outcome: audit.Refused, Detail: why})
}

// noteVain notes what was asked for in vain, as far as the audit takes it.
func (s *Site) noteVain(ctx context.Context, of login.Session, e audit.Entry) {
	over, before := s.refusals.Take(of.Signed())
	if before > 0 {
		s.Log.Warn("the audit has not all that was refused", "operator", of.Signed(), "not noted before", before)
	}
	if over > 0 {
		if tenfold(over) {
			s.Log.Warn("the audit has not all that was refused", "operator", of.Signed(), "not noted", over, "action",
				cut(e.Action), "target", cut(e.Target), "why", e.Detail)
		}
		return
	}
	s.note(ctx, e)
}

// tenfold reports whether n is 1, 10, 100, and so on.
func tenfold(n int) bool {
	for n > 1 && n%10 == 0 {
		n /= 10
	}
	return n == 1
}

// cookie is the name of the session's cookie. With TLS, no other host and no other path can
// have set it.
func (s *Site) cookie() string {
	if s.Secure {
		return "__Host-holdfast"
	}
	return "holdfast"
}

// session returns the session that a request is of.
func (s *Site) session(r *http.Request, used bool) (login.Session, bool) {
	if of, ok := r.Context().Value(ofRequest{}).(login.Session); ok {
		return of, true
	}
	c, err := r.Cookie(s.cookie())
	if err != nil {
		return login.Session{}, false
	}
	return s.sessions.Find(c.Value, used)
}

// enter begins a session; what the browser had before is over.
func (s *Site) enter(w http.ResponseWriter, r *http.Request, u login.User) {
	if before, ok := s.session(r, false); ok {
		s.sessions.End(before)
	}
	id, of := s.sessions.Begin(u)
	http.SetCookie(w, s.newCookie(id, 0))
	s.note(r.Context(), audit.Entry{Who: of.Signed(), Role: of.Role.String(), Action: "login", Outcome: audit.Done})
}

func (s *Site) newCookie(value string, maxAge int) *http.Cookie {
	return &http.Cookie{Name: s.cookie(), Value: value, Path: "/", HttpOnly: true, Secure: s.Secure,
		SameSite: http.SameSiteStrictMode, MaxAge: maxAge}
}
