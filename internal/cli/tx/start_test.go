package tx

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
)

func starting() transactions.Start {
	return transactions.Start{Group: "g", Handler: "h", Message: holdfast.Message{Topic: "t", ContentType: "application/json"}}
}

func TestStartIsCompleted(t *testing.T) {
	s := starting()
	s.Body, s.Headers = `{"a":1}`, []string{"x=1", "y=a=b", "z="}
	require.NoError(t, completeTxStart(&s, nil))
	require.Equal(t, map[string]string{"x": "1", "y": "a=b", "z": ""}, s.Message.Headers)
	require.Equal(t, `{"a":1}`, string(s.Message.Body))
	require.Len(t, s.Message.ID, 36)
}

func TestStartReadsItsBody(t *testing.T) {
	s := starting()
	s.BodyFile = "-"
	require.NoError(t, completeTxStart(&s, strings.NewReader("[1]")))
	require.Equal(t, "[1]", string(s.Message.Body))

	path := filepath.Join(t.TempDir(), "body")
	require.NoError(t, os.WriteFile(path, []byte("plain"), 0o600))
	s = starting()
	s.BodyFile, s.Message.ContentType = path, "text/plain"
	require.NoError(t, completeTxStart(&s, nil))
	require.Equal(t, "plain", string(s.Message.Body))
}

func TestStartIsRefused(t *testing.T) {
	for want, change := range map[string]func(*transactions.Start){
		"no JSON":        func(s *transactions.Start) { s.Body = "{" },
		"want name=valu": func(s *transactions.Start) { s.Headers = []string{"x"} },
		"Holdfast's own": func(s *transactions.Start) { s.Headers = []string{"holdfast-x=1"} },
		"no such file":   func(s *transactions.Start) { s.BodyFile = "/no/such/file" },
		"the group":      func(s *transactions.Start) { s.Group = "a b" },
		"the limit is":   func(s *transactions.Start) { s.BodyFile, s.Message.ContentType = "-", "text/plain" },
		"topic":          func(s *transactions.Start) { s.Message.Topic = "a b" },
	} {
		s := starting()
		change(&s)
		require.ErrorContains(t, completeTxStart(&s, strings.NewReader(strings.Repeat("x", holdfast.MaxBody+1))), want)
	}
}
