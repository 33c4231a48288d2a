package cli

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/workflows"
)

var suggestion = regexp.MustCompile("(?m)`(holdfast [^`\n]+)`|^ *(holdfast [^`\n]+)$|(?:such as|or|purpose): (holdfast [^`;\n]+)")

// suggestions are the command lines in an output, as somebody would copy them.
func suggestions(output string) (all []string) {
	for _, found := range suggestion.FindAllStringSubmatch(output, -1) {
		all = append(all, strings.Join(found[1:], ""))
	}
	return all
}

// paste gives a command line to a real shell, and returns the arguments with which the
// program would run. Nothing else may come of it.
func paste(t *testing.T, line string) []string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", `holdfast() { printf '%s\0' "$@"; }`+"\n"+line)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: %s", line, out)
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Empty(t, left, "%s ran something", line)
	args := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	root := newRootCommand(&frame.App{})
	c, rest, err := root.Find(args)
	require.NoError(t, err, line)
	require.NoError(t, c.ParseFlags(rest), line)
	require.NoError(t, c.ValidateArgs(c.Flags().Args()), line)
	return args
}

func TestOperators(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		flag string
		env  []string
		want string
		err  string
	}{
		"flag":             {"bob", []string{"HOLDFAST_OPERATOR=ops", "USER=ann"}, "bob (claimed)", ""},
		"environment":      {"", []string{"HOLDFAST_OPERATOR=ops", "USER=ann"}, "ops (claimed)", ""},
		"user":             {"", []string{"USER=ann"}, "ann (claimed)", ""},
		"empty variable":   {"", []string{"HOLDFAST_OPERATOR= ", "USER=ann"}, "ann (claimed)", ""},
		"nobody":           {"", nil, "", "set HOLDFAST_OPERATOR to a name, such as HOLDFAST_OPERATOR=ann, or add --operator NAME"},
		"holdfast":         {"holdfast", nil, "", "Holdfast signs with that name"},
		"system":           {"System", nil, "", "Holdfast signs with that name"},
		"marked":           {"ann (authenticated by oidc)", nil, "", "Holdfast itself adds"},
		"marked by itself": {"ann (claimed)", nil, "", "Holdfast itself adds"},
		"turned":           {"ann\u202e", nil, "", "not seen"},
		"the policy":       {"", []string{"HOLDFAST_OPERATOR=policy"}, "", `the operator cannot be "policy"`},
		"a timeout":        {"Timeout", []string{"USER=ann"}, "", `the operator cannot be "Timeout"`},
		"a user of Linux":  {"", []string{"USER=temporal"}, "", `the operator cannot be "temporal"`},
		"several lines":    {"a\nb", nil, "", "not seen"},
		"longer than kept": {strings.Repeat("a", 201), nil, "", "too long"},
	} {
		a := &frame.App{}
		require.NoError(t, a.ReadEnvironment(tc.env, time.Now))
		w := frame.Who{Operator: tc.flag, Reason: "x"}
		w.Complete(a)
		err := w.Check()
		if tc.err != "" {
			require.ErrorContains(t, err, tc.err, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, tc.want, w.Operator, name)
	}
	for _, command := range []string{"tx commit", "tx rollback", "tx recheck", "dead discard", "dead restart", "saga pause", "saga compensate"} {
		r := runProgram(t, []string{"TEMPORAL_ADDRESS=127.0.0.1:1"}, append(strings.Fields(command), "1", "--reason", "x")...)
		require.Equal(t, frame.ExitUsage, r.status, command)
		require.Contains(t, r.err, "HOLDFAST_OPERATOR", command)
		r = runProgram(t, []string{"TEMPORAL_ADDRESS=127.0.0.1:1", "HOLDFAST_OPERATOR=ops"}, append(strings.Fields(command), "1", "--reason", "x")...)
		require.Contains(t, r.err, "Temporal at 127.0.0.1:1", command)
	}
}

// oddIDs are IDs that would do harm in a shell, or that a terminal would not show.
var oddIDs = []string{"$(touch gone)", "`touch gone`", "it's", "two  words", "a\nb", "\x1b[31mred", "--help", "-x", "Zürich;rm"}

// TestSuggestionsSurviveTheOutput: what the program suggests about the oddest ID is
// pasted as it is printed, and means that ID.
func TestSuggestionsSurviveTheOutput(t *testing.T) {
	t.Parallel()
	said := (&frame.App{Config: reach.Config{PrefixFlag: "my.shop"}}).Suggester()
	for _, id := range oddIDs {
		var out strings.Builder
		w := text.Plain(&out)
		text.PrintError(w, text.WithRemedy(holdfast.ErrNotFound, "%s says more", said.Code("dead show", id)))
		text.Printf(w, "  %s\n", text.OneLine(said.Command("dead discard", id, text.WithReason()...)))
		require.Equal(t, 2, strings.Count(out.String(), "\n"), out.String())
		lines := suggestions(out.String())
		require.Len(t, lines, 2, out.String())
		for _, line := range lines {
			args := paste(t, line)
			require.Contains(t, args, id)
			require.Contains(t, args, "my.shop")
		}
	}
}

// TestSuggestionsOfEveryCommand: the commands that show, the errors and the groups
// suggest can be pasted, and do what they say, for the oddest IDs.
func TestSuggestionsOfEveryCommand(t *testing.T) {
	t.Parallel()
	g := newGraveyard(t)
	var letters []holdfast.DeadLetter
	for _, id := range oddIDs[:4] { // Temporal's client refuses what is not ASCII
		letters = append(letters, g.ghost("", func(l *holdfast.DeadLetter) {
			l.ID, l.Message.Key, l.Failure.Reason, l.Policy.AllowEdits = id, "", "no order "+id, true
		}))
	}
	g.bury(letters...)
	run := func(line string) result { return runProgram(t, g.env, paste(t, line)...) }

	r := g.holdfast("list", "--group-by", "error")
	require.Equal(t, frame.ExitOK, r.status, r.err)
	require.NotEmpty(t, suggestions(r.out), r.out)
	for _, line := range suggestions(r.out) {
		require.Contains(t, run(line).out, "no order", line)
	}
	for _, l := range letters {
		id := workflows.DeadLetterID(g.prefix, l)
		r := g.holdfast("show", "--", id)
		require.Equal(t, frame.ExitOK, r.status, r.err)
		lines := suggestions(r.out)
		require.Len(t, lines, 4, r.out)
		r = run(lines[len(lines)-1]) // discard
		require.Equal(t, frame.ExitOK, r.status, "%s: %s", lines, r.err)
		r = run(lines[len(lines)-1])
		require.Equal(t, frame.ExitError, r.status)
		require.Contains(t, r.err, "settled already")
		for _, line := range suggestions(r.err) {
			r = run(line)
			require.Equal(t, frame.ExitOK, r.status, line)
			require.Regexp(t, `state +discarded`, r.out, line)
		}
	}
}

// TestCommandsAreMadeInOnePlace: no other code puts a value into a command line, where a
// shell could take it for something else.
func TestCommandsAreMadeInOnePlace(t *testing.T) {
	t.Parallel()
	byHand := regexp.MustCompile(`holdfast (?:tx|dead|saga|half|doctor|consumers|keep|migrate|waiting|retry-now)\b[^"` + "`" + `:\n]*(?:%[a-z]|" ?\+)`)
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		code, err := os.ReadFile(path)
		for _, line := range strings.Split(string(code), "\n") {
			if byHand.MatchString(line) && !strings.HasPrefix(strings.TrimSpace(line), "//") && !strings.Contains(line, "Example:") &&
				!strings.Contains(line, `\n  holdfast`) && !strings.Contains(line, `"  holdfast`) {
				t.Errorf("%s: make the command line with internal/shell: %s", path, strings.TrimSpace(line))
			}
		}
		return err
	})
	require.NoError(t, err)
}
