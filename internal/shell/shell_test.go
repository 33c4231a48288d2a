package shell_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/shell"
)

// odd are words that a shell would take for something else.
var odd = []string{"", "A-1007", "shop:dead/payments/m.1", "$(touch gone)", "`touch gone`", "$HOME", "a b", "  a  ", "it's", `say "so"`, `\`, `a\nb`,
	"a\nb", "\n", "a\n", "\ttab", "\r", "a;b", "a&&b", "a|b", "a>b", "#a", "~", "~root", "*", "?", "[a]", "{a,b}", "!1", "a=b", "^a", "%1",
	"-n", "--reason", "\x1b[31mred", "\u202eturned", "\u2028", "\u200b", "\u00a0", "Zürich-1", "日本", "\xff\xfe", "\x01" + "7", "'", "''", "$'a'", "\x7f", "🙂"}

// TestWordsSurviveAShell: what a real shell makes of a word is the word, and nothing
// is run.
func TestWordsSurviveAShell(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"bash", "zsh", "ksh"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue // bash is on every machine of the tests
		}
		line := shell.Command(append([]string{"printf", `%s\0`}, odd...)...)
		require.NotContains(t, line, "\n")
		require.NotContains(t, line, "`")
		cmd := exec.CommandContext(t.Context(), path, "-c", line)
		cmd.Dir = t.TempDir()
		out, err := cmd.Output()
		require.NoError(t, err)
		require.Equal(t, odd, strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), name)
	}
}

// TestWordsAreReadable: only what needs quotes has them, and the oddest are plain to see.
func TestWordsAreReadable(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"shop:dead/payments/0192-7c@x": "shop:dead/payments/0192-7c@x",
		"$(true)":                      `'$(true)'`,
		"it's":                         `'it'\''s'`,
		"a\nb`":                        `$'a\012b\140'`,
		"\u202ea":                      `$'\342\200\256a'`,
		"Zürich-1":                     "'Zürich-1'",
		"":                             "''",
	} {
		require.Equal(t, want, shell.Word(word))
	}
}

func TestCommandsOfTheProgram(t *testing.T) {
	t.Parallel()
	require.Equal(t, "holdfast dead list --consumer 'a b'", shell.Holdfast("dead list", "", "--consumer", "a b"))
	require.Equal(t, "holdfast dead discard 'a b' --reason TEXT", shell.Holdfast("dead discard", "a b", "--reason", shell.Text))
	require.Equal(t, "holdfast dead discard --reason TEXT -- -rf", shell.Holdfast("dead discard", "-rf", "--reason", shell.Text))
}
