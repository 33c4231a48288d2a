package console

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/keyring"
)

func TestMain(m *testing.M) { os.Exit(stacktest.Main(m)) }

func TestNobodyIsLetInByMistake(t *testing.T) {
	line, err := HashLine("ann", "operator", "correct horse")
	require.NoError(t, err)
	for want, o := range map[string]Options{
		"nobody could log in":  {},
		"not both":             {Users: strings.NewReader(line), DevLogin: true},
		"users: it has no":     {Users: strings.NewReader("")},
		"line 1: want name":    {Users: strings.NewReader("ann")},
		"prefix":               {Users: strings.NewReader(line), Prefix: "a b"},
		"is no URL for Postgr": {Users: strings.NewReader(line), Environ: []string{"DATABASE_URL=postgres://ann:s3cret@h:x/"}},
	} {
		if o.Environ == nil {
			o.Environ = []string{}
		}
		_, err := New(t.Context(), o)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "s3cret")
		require.NotContains(t, err.Error(), "$2a$")
	}
	_, err = HashLine("ann", "boss", "correct horse")
	require.ErrorContains(t, err, "want viewer, operator or admin")
}

func TestTheAuditsTableHasToBeThere(t *testing.T) {
	_, err := New(t.Context(), Options{DevLogin: true,
		Environ: []string{"DATABASE_URL=" + stacktest.Database(t, stacktest.Shared(t))}})
	require.ErrorContains(t, err, "run `holdfast migrate`")
}

// TestADatabaseThatIsAway: the console begins, and says so.
func TestADatabaseThatIsAway(t *testing.T) {
	var log bytes.Buffer
	c, err := New(t.Context(), Options{DevLogin: true, Log: &log,
		Environ: []string{"DATABASE_URL=postgres://ann:s3cret@127.0.0.1:1/x"}})
	require.NoError(t, err)
	defer c.Close()
	require.Contains(t, log.String(), "no action is done until it does")
	require.NotContains(t, log.String(), "s3cret")
	got := httptest.NewRecorder()
	c.ServeHTTP(got, httptest.NewRequest(http.MethodGet, c.DevLogin(), nil))
	require.Equal(t, http.StatusOK, got.Code)
}

func TestTheServerHasLimitsAndTheLog(t *testing.T) {
	var log bytes.Buffer
	c, err := New(t.Context(), Options{DevLogin: true, Environ: []string{}, Log: &log})
	require.NoError(t, err)
	defer c.Close()
	s := c.Server()
	for _, limit := range []time.Duration{s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout, s.IdleTimeout} {
		require.Positive(t, limit)
	}
	s.ErrorLog.Print("http: panic serving")
	require.Contains(t, log.String(), `"level":"ERROR","msg":"http: panic serving"`)
}

// TestTheCodecIsForTheUI: the console is a codec where there is a keyring and Temporal's UI is
// known, for that one's origin.
func TestTheCodecIsForTheUI(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	_, err := keyring.New(path)
	require.NoError(t, err)
	ask := func(origin string, environ ...string) int {
		t.Helper()
		c, err := New(t.Context(), Options{DevLogin: true, Environ: environ, Log: io.Discard})
		require.NoError(t, err)
		defer c.Close()
		r := httptest.NewRequest(http.MethodPost, "/codec/decode", strings.NewReader("{}"))
		r.Header.Set("Origin", origin)
		got := httptest.NewRecorder()
		c.ServeHTTP(got, r)
		return got.Code
	}
	ring := "HOLDFAST_KEYRING=" + path
	require.Equal(t, http.StatusNotFound, ask("https://temporal.example.com", "HOLDFAST_TEMPORAL_UI=https://temporal.example.com"))
	require.Equal(t, http.StatusNotFound, ask("https://temporal.example.com", ring))
	require.Equal(t, http.StatusNotFound, ask("null", ring, "HOLDFAST_TEMPORAL_UI=file:///x"))
	for ui, origin := range map[string]string{
		"https://Temporal.example.com:443/namespaces": "https://temporal.example.com",
		"http://localhost:8233":                       "http://localhost:8233",
		"http://10.0.0.1:80/":                         "http://10.0.0.1",
	} {
		require.Equal(t, http.StatusUnauthorized, ask(origin, ring, "HOLDFAST_TEMPORAL_UI="+ui), ui)
		require.Equal(t, http.StatusForbidden, ask(origin+".evil.example", ring, "HOLDFAST_TEMPORAL_UI="+ui), ui)
	}
	_, err = New(t.Context(), Options{DevLogin: true, Environ: []string{ring + "none"}})
	require.ErrorContains(t, err, "HOLDFAST_KEYRING")
	_, err = New(t.Context(), Options{DevLogin: true, Environ: []string{ring, "HOLDFAST_ENCRYPTION=maybe"}})
	require.ErrorContains(t, err, "HOLDFAST_ENCRYPTION")
}

// TestTheServerShutsDown although a page is live, whose request would go on.
func TestTheServerShutsDown(t *testing.T) {
	c, err := New(t.Context(), Options{DevLogin: true, Environ: []string{}, Log: io.Discard})
	require.NoError(t, err)
	defer c.Close()
	s := c.Server()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	at := "http://" + l.Addr().String()
	form := url.Values{"token": {c.once.Token()}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at+"/login/once", strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	b := http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	got, err := b.Do(r)
	require.NoError(t, err)
	require.NoError(t, got.Body.Close())
	r, err = http.NewRequestWithContext(t.Context(), http.MethodGet, at+"/events?page=/", nil)
	require.NoError(t, err)
	got, err = b.Do(r)
	require.NoError(t, err)
	begins := make([]byte, len("retry"))
	_, err = io.ReadFull(got.Body, begins)
	require.NoError(t, err)
	require.Equal(t, "retry", string(begins))
	require.NoError(t, s.Shutdown(t.Context()))
	_, err = io.ReadAll(got.Body)
	require.NoError(t, err)
	require.NoError(t, got.Body.Close())
	require.ErrorIs(t, <-ended, http.ErrServerClosed)
}
