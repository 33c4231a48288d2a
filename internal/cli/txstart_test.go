package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
)

func starting() start {
	return start{group: "g", handler: "h", message: holdfast.Message{Topic: "t", ContentType: "application/json"}}
}

func TestStartIsCompleted(t *testing.T) {
	s := starting()
	s.body, s.headers = `{"a":1}`, []string{"x=1", "y=a=b", "z="}
	require.NoError(t, completeTxStart(&s, nil))
	require.Equal(t, map[string]string{"x": "1", "y": "a=b", "z": ""}, s.message.Headers)
	require.Equal(t, `{"a":1}`, string(s.message.Body))
	require.Len(t, s.message.ID, 36)
}

func TestStartReadsItsBody(t *testing.T) {
	s := starting()
	s.bodyFile = "-"
	require.NoError(t, completeTxStart(&s, strings.NewReader("[1]")))
	require.Equal(t, "[1]", string(s.message.Body))

	path := filepath.Join(t.TempDir(), "body")
	require.NoError(t, os.WriteFile(path, []byte("plain"), 0o600))
	s = starting()
	s.bodyFile, s.message.ContentType = path, "text/plain"
	require.NoError(t, completeTxStart(&s, nil))
	require.Equal(t, "plain", string(s.message.Body))
}

func TestStartIsRefused(t *testing.T) {
	for want, change := range map[string]func(*start){
		"no JSON":        func(s *start) { s.body = "{" },
		"want name=valu": func(s *start) { s.headers = []string{"x"} },
		"Holdfast's own": func(s *start) { s.headers = []string{"holdfast-x=1"} },
		"no such file":   func(s *start) { s.bodyFile = "/no/such/file" },
		"the group":      func(s *start) { s.group = "a b" },
		"the limit is":   func(s *start) { s.bodyFile, s.message.ContentType = "-", "text/plain" },
		"topic":          func(s *start) { s.message.Topic = "a b" },
	} {
		s := starting()
		change(&s)
		require.ErrorContains(t, completeTxStart(&s, strings.NewReader(strings.Repeat("x", holdfast.MaxBody+1))), want)
	}
}
