package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
)

// documents are the pages for people, by their paths.
func documents(t *testing.T) map[string]string {
	t.Helper()
	root := filepath.Join("..", "..")
	pages := map[string]string{}
	read := func(path string) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		pages[path] = string(text)
	}
	for _, name := range []string{"README.md", "CONTRIBUTING.md"} {
		read(filepath.Join(root, name))
	}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".md") {
			read(path)
		}
		return err
	})
	require.NoError(t, err)
	require.Greater(t, len(pages), 10)
	return pages
}

var (
	fencedCommand = regexp.MustCompile(`(?m)^holdfast ([a-z].*)$`)
	inlineCommand = regexp.MustCompile("`holdfast ((?:[a-z]+ ?)+ ?[^`]*)`")
	quotedWord    = regexp.MustCompile(`"[^"]*"`)
)

// TestDocumentedCommands: every command in the pages exists, with its flags.
func TestDocumentedCommands(t *testing.T) {
	seen := 0
	for path, text := range documents(t) {
		for _, found := range append(fencedCommand.FindAllStringSubmatch(text, -1), inlineCommand.FindAllStringSubmatch(text, -1)...) {
			line, _, _ := strings.Cut(found[1], " #")
			line, _, _ = strings.Cut(line, " | ")
			args := strings.Fields(quotedWord.ReplaceAllString(line, "QUOTED"))
			root := newRootCommand(&frame.App{})
			c, rest, err := root.Find(args)
			require.NoError(t, err, "%s: holdfast %s", path, line)
			require.NotEqual(t, root, c, "%s: holdfast %s", path, line)
			require.NoError(t, c.ParseFlags(rest), "%s: holdfast %s", path, line)
			seen++
		}
	}
	require.Greater(t, seen, 50)
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	noSlug  = regexp.MustCompile(`[^\pL\pN _-]`)
)

// TestDocumentedLinks: every link inside the repository leads somewhere.
func TestDocumentedLinks(t *testing.T) {
	anchors := func(text string) (all []string) {
		for _, h := range heading.FindAllStringSubmatch(text, -1) {
			all = append(all, strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-"))
		}
		return all
	}
	pages := documents(t)
	for path, text := range pages {
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			file, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(file, "://") {
				continue
			}
			to := path
			if file != "" {
				to = filepath.Join(filepath.Dir(path), file)
			}
			_, err := os.Stat(to)
			require.NoError(t, err, "%s: %s", path, found[1])
			if anchor != "" {
				require.Contains(t, anchors(pages[to]), anchor, "%s: %s", path, found[1])
			}
		}
	}
}

// TestRunbookHasAPageForEachReason: what the code says when something parks, or
// nobody keeps a half queue, is in the runbook's table, and each page of the
// runbook is in that table.
func TestRunbookHasAPageForEachReason(t *testing.T) {
	runbook := filepath.Join("..", "..", "docs", "runbook")
	table, err := os.ReadFile(filepath.Join(runbook, "README.md"))
	require.NoError(t, err)
	for file, reasons := range map[string][]string{
		"workflows/deadletters/text.go":          {"gave it up", "it was given up", "it died outside of its consumer"},
		"workflows/deadletters/policy.go":        {"which is all that the policy wants", "the policy is to ", "too many for a workflow"},
		"workflows/deadletters/steps.go":         {"cannot be redelivered", "compensation failed", "compensated, but "},
		"workflows/deadletters/deadletter.go":    {"its policy is ignored", "the workflow was asked to cancel"},
		"workflows/transactions/schedule.go":     {"undecided after "},
		"workflows/sagas/text.go":                {" could not be undone: ", "no worker of group "},
		"workflows/sagas/status.go":              {"for an answer"},
		"internal/operator/processes/keepers.go": {"hand-overs fail", "nobody keeps it"},
		"internal/operator/doctor/rabbitmq.go":   {"no Keeper reads "},
	} {
		code, err := os.ReadFile(filepath.Join("..", "..", file))
		require.NoError(t, err)
		for _, reason := range reasons {
			require.Contains(t, string(code), reason, "%s says something else now: correct the runbook", file)
			require.Contains(t, string(table), reason)
		}
	}
	pages, err := filepath.Glob(filepath.Join(runbook, "*.md"))
	require.NoError(t, err)
	for _, page := range pages {
		if name := filepath.Base(page); name != "README.md" {
			require.Contains(t, string(table), "("+name, "the runbook's table does not lead to %s", name)
		}
	}
}

// TestEveryPageIsReachable: the index leads to every page, directly or over the
// indexes of the runbook and the decisions.
func TestEveryPageIsReachable(t *testing.T) {
	pages := documents(t)
	docs := filepath.Join("..", "..", "docs")
	reached := map[string]bool{}
	for _, index := range []string{"README.md", filepath.Join("runbook", "README.md"), filepath.Join("decisions", "README.md")} {
		index = filepath.Join(docs, index)
		for _, found := range link.FindAllStringSubmatch(pages[index], -1) {
			file, _, _ := strings.Cut(found[1], "#")
			reached[filepath.Join(filepath.Dir(index), file)] = true
		}
	}
	for page := range pages {
		if page != filepath.Join(docs, "README.md") && page != filepath.Join("..", "..", "README.md") {
			require.True(t, reached[page], "no index of docs leads to %s", page)
		}
	}
	require.Contains(t, pages[filepath.Join("..", "..", "README.md")], "](docs/README.md)")
}

var (
	commandRow = regexp.MustCompile("(?m)^\\| `([a-z -]+)` \\| (.*) \\|$")
	flagInRow  = regexp.MustCompile("--([a-z-]+)")
)

// TestCommandPage: docs/cli.md has each command once, with flags that it has, and no
// others.
func TestCommandPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	require.NoError(t, err)
	missing := map[string]bool{}
	root := newRootCommand(&frame.App{})
	for _, c := range leaves(root) {
		missing[strings.TrimPrefix(c.CommandPath(), "holdfast ")] = true
	}
	require.Greater(t, len(missing), 30)
	for _, found := range commandRow.FindAllStringSubmatch(string(page), -1) {
		name, text := found[1], found[2]
		require.True(t, missing[name], "docs/cli.md: holdfast %s: no such command, or twice", name)
		delete(missing, name)
		c, _, err := root.Find(strings.Fields(name))
		require.NoError(t, err)
		for _, flag := range flagInRow.FindAllStringSubmatch(text, -1) {
			require.NotNil(t, c.Flags().Lookup(flag[1]), "docs/cli.md: holdfast %s has no --%s", name, flag[1])
		}
	}
	require.Empty(t, missing, "docs/cli.md lacks commands")
}

// leaves are the commands that do something.
func leaves(c *cobra.Command) (all []*cobra.Command) {
	for _, sub := range c.Commands() {
		switch {
		case sub.Name() == "help" || sub.Hidden:
		case len(sub.Commands()) > 0:
			if sub.LocalNonPersistentFlags().HasFlags() { // it does something itself, too
				all = append(all, sub)
			}
			all = append(all, leaves(sub)...)
		default:
			all = append(all, sub)
		}
	}
	return all
}
