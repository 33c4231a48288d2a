package site

import (
	"net/http"
	"slices"
	"strings"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// maxFor is how many bytes the words may have that somebody calls a token.
const maxFor = 100

// tokensView is the page of somebody's tokens.
type tokensView struct {
	All []login.Token
	// Others are those of everybody else, for admins.
	Others []login.Token
	// New is a token that was made just now: it is shown this once.
	New, Wrong string
}

func (s *Site) tokensPage(w http.ResponseWriter, r *http.Request, of login.Session) {
	s.renderTokens(w, r, http.StatusOK, of, tokensView{})
}

func (s *Site) renderTokens(w http.ResponseWriter, r *http.Request, status int, of login.Session, v tokensView) {
	v.All = s.tokens.Of(of)
	if of.Role.May(login.Admin) {
		v.Others = slices.DeleteFunc(s.tokens.All(), func(t login.Token) bool { return t.Of.Signed() == of.Signed() })
	}
	s.render(w, r, status, of, "tokens.html", "Tokens for the command line", v)
}

// makeToken makes a token, if the audit has it.
func (s *Site) makeToken(w http.ResponseWriter, r *http.Request, of login.Session) {
	what := strings.TrimSpace(text.OneLine(r.PostForm.Get("for")))
	if what == "" || len(what) > maxFor {
		s.renderTokens(w, r, http.StatusUnprocessableEntity, of, tokensView{Wrong: "Say what it is for, in a few words."})
		return
	}
	id, made, err := s.tokens.Make(of, what)
	if err != nil {
		s.renderTokens(w, r, http.StatusConflict, of, tokensView{Wrong: text.Capital(err.Error()) + "."})
		return
	}
	e := audit.Entry{Who: of.Signed(), Role: of.Role.String(), Action: "token make", Target: made.Key, Outcome: audit.Done,
		Detail: what}
	if refused := s.ask(r.Context(), of, e); refused != nil {
		s.tokens.Revoke(of, made.Key)
		s.renderTokens(w, r, http.StatusServiceUnavailable, of, tokensView{
			Wrong: "Nothing was done: " + refused.Detail + "."})
		return
	}
	s.renderTokens(w, r, http.StatusOK, of, tokensView{New: id})
}

func (s *Site) revokeToken(w http.ResponseWriter, r *http.Request, of login.Session) {
	key := r.PostForm.Get("key")
	if s.tokens.Revoke(of, key) {
		s.noteRevoked(r, of, key, "")
	} else if of.Role.May(login.Admin) {
		if ended, ok := s.tokens.RevokeAny(key); ok {
			s.noteRevoked(r, of, key, "of "+ended.Of.Signed())
		}
	} else {
		s.refuse(r, of, "token revoke", cut(key), "", "it is no token of his, or has ended")
		s.say(w, r, http.StatusConflict, of, message{Title: "Nothing was done",
			Text: "This is no token of yours, or it has ended already.", Links: []link{{"Your tokens", "/tokens"}}})
		return
	}
	http.Redirect(w, r, "/tokens", http.StatusSeeOther)
}

// noteRevoked notes that somebody has ended a token; detail says whose it was, if it was not his.
func (s *Site) noteRevoked(r *http.Request, of login.Session, key, detail string) {
	s.note(r.Context(), audit.Entry{Who: of.Signed(), Role: of.Role.String(), Action: "token revoke", Target: key,
		Outcome: audit.Done, Detail: detail})
}
