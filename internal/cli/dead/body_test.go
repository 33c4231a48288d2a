package dead

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
)

// TestBodiesAreShownSafely: of a body, the beginning is shown, and whatever it holds,
// a terminal shows it, and does nothing else.
func TestBodiesAreShownSafely(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body []byte
		want string
	}{
		"JSON":              {[]byte("{\n\t\"a\": \"ü\"\n}"), "{\n    \"a\": \"ü\"\n}\n"},
		"escape sequences":  {[]byte("a\x1b[2Jb\x07\rc\u202ed"), "a[2Jb cd\n"},
		"binary":            {[]byte("\x00\x1b[2J\xff"), "00000000  00 1b 5b 32 4a ff "},
		"long":              {[]byte(strings.Repeat("ü", bodyShown)), strings.Repeat("ü", bodyShown/2) + "\n… and 1024 bytes more\n  all of it: holdfast dead show dead/p/1 --raw\n"},
		"long, cut in an ü": {[]byte("a" + strings.Repeat("ü", bodyShown)), "a" + strings.Repeat("ü", bodyShown/2-1) + "\n… and 1026 bytes more\n"},
		"long and binary":   {bytes.Repeat([]byte{0xff}, 2000), "\n… and 1488 bytes more\n"},
	} {
		m := holdfast.Message{ID: "1", Topic: "t", Body: tc.body}
		d := deadletters.Detail{Message: transactions.MessageBeginning(m, new(bodyFlags).most())}
		if d.Message.Cut > 0 {
			d.Whole = text.Suggester{}.Command("dead show", "dead/p/1", "--raw")
		}
		var out bytes.Buffer
		require.NoError(t, d.Print(text.Plain(&out), time.Now()))
		require.Contains(t, out.String(), tc.want, name)
		require.NotContains(t, out.String(), "\x1b", name)
		require.Less(t, out.Len(), 8*bodyShown, name)
	}
	require.Equal(t, transactions.MessageDetail{Size: 3}, transactions.MessageBeginning(holdfast.Message{Body: []byte("abc")}, (&bodyFlags{none: true}).most()))
}

// TestRawBodies: they go to files and pipes as they are, and not to a terminal.
func TestRawBodies(t *testing.T) {
	t.Parallel()
	body := deadletters.WholeBody("\x1b[2J\xff\r\n")
	var out bytes.Buffer
	require.NoError(t, body.Print(text.Plain(&out), time.Now()))
	require.Equal(t, string(body), out.String())

	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil || !text.IsTerminal(terminal) {
		t.Skip("this machine gives no terminal")
	}
	t.Cleanup(func() { _ = terminal.Close() })
	require.NotPanics(t, func() { require.NoError(t, body.Print(text.Plain(terminal), time.Now())) })
}
