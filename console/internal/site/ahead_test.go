package site

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLooksGoAhead: who logs in, or comes from another page, is shown at once what was seen
// meanwhile; what is looked at again is so now, and so is what follows an action.
func TestLooksGoAhead(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.site.Ahead = true
	begun, finish := make(chan struct{}, 10), make(chan struct{}, 10)
	h.desk.opened = func() {
		begun <- struct{}{}
		<-finish
	}
	stranger := h.browser()
	for range 3 {
		require.Equal(t, http.StatusOK, stranger.get("/login").status)
	}
	<-begun
	finish <- struct{}{}
	b := h.as("operator")
	require.Contains(t, b.get("/").body, "Looked at 2026-01-02 12:00:00")
	h.pass(aheadShown)
	require.Contains(t, b.get("/").body, "Looked at 2026-01-02 12:00:00", "it does not wait for the next")
	<-begun
	finish <- struct{}{}
	require.Contains(t, b.get("/?auto=1").body, "Looked at 2026-01-02 12:00:30", "it is looked at again")
	require.Empty(t, begun)

	h.pass(aheadEvery)
	require.Equal(t, http.StatusOK, b.get("/saga?id="+sagaID).status)
	<-begun // from another page, too
	got := b.post("/do", b.confirm(retrySaga))
	require.Equal(t, http.StatusSeeOther, got.status, got.body)
	finish <- struct{}{} // that of before the action
	finish <- struct{}{}
	h.pass(time.Second)
	require.Contains(t, b.get("/").body, "Looked at 2026-01-02 12:00:51", "as it is after the action")
	<-begun
	require.Empty(t, begun)

	h.pass(aheadShown + time.Second)
	finish <- struct{}{}
	require.Contains(t, b.get("/").body, "Looked at 2026-01-02 12:01:22", "what is old is not shown")
}
