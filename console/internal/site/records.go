package site

import (
	"net/http"

	"github.com/holdfastmq/holdfast/console/internal/audit"
	"github.com/holdfastmq/holdfast/console/internal/login"
)

// entriesShown is how many entries of the audit are shown.
const entriesShown = 200

// auditView is the page of the audit.
type auditView struct {
	Where   string
	Entries []audit.Entry
}

func (s *Site) auditPage(w http.ResponseWriter, r *http.Request, of login.Session) {
	entries, err := s.Audit.Last(r.Context(), entriesShown)
	if err != nil {
		s.failed(w, r, of, err)
		return
	}
	s.render(w, r, http.StatusOK, of, "audit.html", "Audit", auditView{s.Audit.Where(), entries})
}
