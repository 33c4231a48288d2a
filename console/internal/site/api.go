package site

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/desk"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/guard"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/vouch"
)

// reply writes JSON.
func reply(w http.ResponseWriter, status int, what any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(what) // whoever has left does not miss it
}

// bearer serves the command line with somebody's token. Cookies do not count, so that no page
// of another site can have a browser send it.
func (s *Site) bearer(next func(w http.ResponseWriter, r *http.Request, of login.Token)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, vouch.MaxOrder)
		id, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		of, ok := s.tokens.Find(id)
		if !ok {
			w.Header().Set("WWW-Authenticate", `Bearer realm="holdfast"`)
			s.warn(r, "a token was refused")
			reply(w, http.StatusUnauthorized, vouch.Wrong{Error: "the token is not known, or has ended"})
			return
		}
		next(w, r, of)
	}
}

func (s *Site) apiWho(w http.ResponseWriter, r *http.Request, of login.Token) {
	reply(w, http.StatusOK, vouch.Whose{Operator: of.Of.Signed(), Role: of.Of.Role.String(), Until: of.Until})
}

func (s *Site) apiEnd(w http.ResponseWriter, r *http.Request, of login.Token) {
	if s.tokens.Revoke(of.Of, of.Key) {
		s.noteRevoked(r, of.Of, of.Key, "")
	}
	reply(w, http.StatusOK, struct{}{})
}

// apiAct does what the command line hands over, if the audit has it.
func (s *Site) apiAct(w http.ResponseWriter, r *http.Request, of login.Token) {
	defer s.changed()
	var o vouch.Order
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		reply(w, http.StatusBadRequest, vouch.Wrong{Error: "the order cannot be read"})
		return
	}
	reason, ok := o.Reason()
	reason = text.OneLine(strings.TrimSpace(reason))
	switch {
	case !ok:
		reply(w, http.StatusBadRequest, vouch.Wrong{Error: "the order is not whole",
			Remedy: "use the command line of the console's version"})
		return
	case wrongReason(reason) != "":
		reply(w, http.StatusUnprocessableEntity, vouch.Wrong{Error: "the reason is not taken: " + wrongReason(reason)})
		return
	case !of.Of.Role.May(login.Operator):
		s.refuse(r, of.Of, o.Kind+" "+o.Act, o.ID, o.Step(), "the role "+of.Of.Role.String()+" may not do that")
		reply(w, http.StatusForbidden, vouch.Wrong{Error: "your role looks and does not act"})
		return
	}
	switch why, err := s.orderSecond(r.Context(), o); {
	case err != nil:
		what, remedy := text.SplitRemedy(err)
		s.refuse(r, of.Of, o.Kind+" "+o.Act, o.ID, o.Step(), "it cannot be looked at: "+what)
		reply(w, http.StatusServiceUnavailable, vouch.Wrong{Error: "it cannot be looked at: " + what, Remedy: remedy})
		return
	case why != "":
		s.refuse(r, of.Of, o.Kind+" "+o.Act, o.ID, o.Step(), "a second person is needed: "+why)
		reply(w, http.StatusForbidden, vouch.Wrong{Remedy: "do it in the console, where another operator can agree to it",
			Error: "a second person is needed: " + why})
		return
	}
	if s.needsSecond(of.Of, 1) {
		s.refuse(r, of.Of, o.Kind+" "+o.Act, o.ID, o.Step(), "a second person is needed")
		reply(w, http.StatusForbidden, vouch.Wrong{Remedy: "do it in the console, or wait",
			Error: "that is more than you may do without a second person within an hour"})
		return
	}
	out, wrong := s.carry(r.Context(), of, o, reason)
	if wrong != nil {
		reply(w, http.StatusServiceUnavailable, wrong)
		return
	}
	reply(w, http.StatusOK, vouch.Answer{Outcome: out, Group: out.Group})
}

// beside says what an order has beside the act, as the audit tells it.
func beside(o vouch.Order) (said string) {
	if o.Letter != nil && o.Letter.Force || o.Tx != nil && o.Tx.Force {
		said += ", forced"
	}
	if o.Letter != nil && (o.Letter.Text != "" || len(o.Letter.Base64) > 0) {
		body := o.Letter.Base64
		if len(body) == 0 {
			body = []byte(o.Letter.Text)
		}
		said += fmt.Sprintf(", with another body (sha256 %x)", sha256.Sum256(body))
	}
	if o.Saga != nil && len(o.Saga.Value) > 0 {
		said += ", with a value"
	}
	return said
}

// carry does an order, alone on its thing as a form does. It has its own time, and goes on when
// the command line leaves.
func (s *Site) carry(ctx context.Context, of login.Token, o vouch.Order, reason string) (actions.Outcome,
	*vouch.Wrong) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), actTime)
	defer cancel()
	e := audit.Entry{Request: strings.ToLower(rand.Text()[:16]), Who: of.Of.Signed(), Role: of.Of.Role.String(),
		Action: o.Kind + " " + o.Act, Target: o.ID, Step: o.Step(), Reason: reason, Outcome: audit.Asked,
		Detail: "by the command line, token " + of.Key + beside(o)}
	if o.Saga != nil && o.Saga.Refuse {
		e.Action += " no"
	}
	name, err := guard.Value(func() (string, error) { return s.Desk.Named(ctx, o) })
	if err != nil {
		out := actions.Outcome{ID: o.ID, Outcome: actions.Unsent}
		out.Detail, out.Remedy = text.SplitRemedy(err)
		e.Target, e.Outcome, e.Detail = cut(o.ID), string(out.Outcome), out.Detail
		s.noteVain(ctx, of.Of, e) // whoever names what is not there can do so often
		return out, nil
	}
	o.ID, e.Target = name, name
	done, err := s.forms.Alone(ctx, o.Kind, o.ID)
	if err != nil {
		return actions.Outcome{}, &vouch.Wrong{Error: err.Error(), Remedy: "repeat the command"}
	}
	defer done()
	if refused := s.ask(ctx, of.Of, e); refused != nil {
		return actions.Outcome{}, &vouch.Wrong{Error: refused.Detail, Remedy: refused.Remedy}
	}
	out := act(ctx, target{act: func(ctx context.Context, who desk.Who) (actions.Outcome, error) {
		return s.Desk.Carry(ctx, o, who)
	}}, desk.Who{Operator: of.Of.Signed(), Reason: reason})
	e.Outcome, e.Detail = string(out.Outcome), out.Detail
	s.note(ctx, e)
	return out, nil
}
