package workflows

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestClip(t *testing.T) {
	for _, s := range []string{"", "short", strings.Repeat("ü", 20), "x" + strings.Repeat("€", 20), strings.Repeat("\U0001f600", 20), "bad \xff\xfe bytes, and more of them", strings.Repeat("\x80", 40)} {
		got := Clip(s, 11)
		require.LessOrEqual(t, len(got), 11, "%q", s)
		require.True(t, utf8.ValidString(got), "%q", s)
	}
	require.Equal(t, "short", Clip("short", 11))
	require.Equal(t, "üüüüü", Clip("üüüüüüü", 11))
}

func TestTextsCannotBreakMarkdown(t *testing.T) {
	require.Equal(t, "`a 'b' c`", Code("a\n`b`\tc"))
	require.Equal(t, `no \| such  table`, Cell("no | such\r\ntable"))
}
