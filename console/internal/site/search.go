package site

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/guard"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
)

// searchView is what an ID or a key means.
type searchView struct {
	For     string
	Found   []link
	Unasked []string // what could not be asked, and why
}

// maxSearch is how many bytes are searched for.
const maxSearch = 2000

func (s *Site) searchPage(w http.ResponseWriter, r *http.Request, of login.Session) {
	id := strings.TrimSpace(r.URL.Query().Get("q"))
	v := searchView{For: id}
	if len(id) > maxSearch {
		s.failed(w, r, of, text.Usagef("this is longer than an ID or a key"))
		return
	}
	if id != "" {
		s.search(r.Context(), id, &v)
	}
	if len(v.Found) == 1 && len(v.Unasked) == 0 {
		http.Redirect(w, r, v.Found[0].To, http.StatusSeeOther)
		return
	}
	s.render(w, r, http.StatusOK, of, "search.html", "Search", v)
}

// search asks for everything that an ID may mean, at once.
func (s *Site) search(ctx context.Context, id string, v *searchView) {
	known, isID := workflows.ParseID(id)
	var mu sync.Mutex
	var wg sync.WaitGroup
	ask := func(noun, page string, meant bool, find func(context.Context, string) (string, error)) {
		if isID && !meant {
			return
		}
		wg.Go(func() {
			found, err := guard.Value(func() (string, error) { return find(ctx, id) })
			s.logPanic("search for a "+noun, err)
			mu.Lock()
			defer mu.Unlock()
			var several server.AmbiguousError
			switch {
			case err == nil:
				v.Found = append(v.Found, link{noun + " " + found, page + url.QueryEscape(found)})
			case errors.As(err, &several):
				for _, one := range several.IDs {
					v.Found = append(v.Found, link{noun + " " + one, page + url.QueryEscape(one)})
				}
			case errors.Is(err, holdfast.ErrNotFound):
			default:
				v.Unasked = append(v.Unasked, noun+": "+text.Of(err))
			}
		})
	}
	ask("saga", "/saga?id=", known.Kind == workflows.KindSaga, s.Desk.FindSaga)
	ask("dead letter", "/letter?id=", known.Kind == workflows.KindDeadLetter, s.Desk.FindLetter)
	ask("transaction", "/transaction?id=", known.Kind == workflows.KindTransaction || known.Shared(),
		s.Desk.FindTransaction)
	wg.Wait()
}
