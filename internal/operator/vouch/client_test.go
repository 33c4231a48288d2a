package vouch

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/operator/actions"
)

// TestWhatTheConsoleMayHaveHeard is unknown; what it cannot have heard was not sent.
func TestWhatTheConsoleMayHaveHeard(t *testing.T) {
	t.Parallel()
	console := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	}))
	console.Config.ErrorLog = log.New(io.Discard, "", 0)
	console.StartTLS()
	defer console.Close()
	c := NewClient(Login{Console: console.URL, Token: "x"})
	out := c.Act(t.Context(), Order{})
	require.Equal(t, actions.Unsent, out.Outcome, "nobody trusts its certificate")
	require.Contains(t, out.Detail, "not reached")
	require.Contains(t, out.Remedy, "SSL_CERT_FILE")
	c.http.Transport = console.Client().Transport
	require.Equal(t, actions.Unknown, c.Act(t.Context(), Order{}).Outcome, "it went without an answer")
	require.Equal(t, actions.Unsent, NewClient(Login{Console: "http://127.0.0.1:1", Token: "x"}).Act(t.Context(),
		Order{}).Outcome)
}
