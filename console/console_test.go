package console

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
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
