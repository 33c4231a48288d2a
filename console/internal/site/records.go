package site

import (
	"net/http"
	"strconv"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// entriesShown is how many entries of the audit a page shows.
const entriesShown = 200

// auditView is a page of the audit.
type auditView struct {
	Where   string
	Entries []audit.Entry
	Before  bool   // it does not begin with the latest
	Earlier string // the page of what was before; empty: there is nothing
}

func (s *Site) auditPage(w http.ResponseWriter, r *http.Request, of login.Session) {
	before := int64(0)
	if asked := r.URL.Query().Get("before"); asked != "" {
		var err error
		if before, err = strconv.ParseInt(asked, 10, 64); err != nil || before < 1 {
			s.failed(w, r, of, text.Usagef("before is the number of an entry"))
			return
		}
	}
	entries, err := s.Audit.Last(r.Context(), entriesShown+1, before)
	if err != nil {
		s.failed(w, r, of, err)
		return
	}
	v := auditView{Where: s.Audit.Where(), Entries: entries, Before: before > 0}
	if len(entries) > entriesShown {
		v.Entries = entries[:entriesShown]
		v.Earlier = "/audit?before=" + strconv.FormatInt(v.Entries[entriesShown-1].ID, 10)
	}
	s.render(w, r, http.StatusOK, of, "audit.html", "Audit", v)
}
