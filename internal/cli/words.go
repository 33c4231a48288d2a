package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// oneLine makes s fit for a cell: what others wrote must not move the cursor.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case steers(r):
			return -1
		}
		return r
	}, s)
}

// orDash stands in for an empty cell.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// age is a duration as people say it: its largest unit or two.
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

const dateTime = "2006-01-02 15:04:05"

// capital begins a sentence with s.
func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// join lists names for a sentence.
func join(names []string) string { return strings.Join(names, ", ") }

// cutText is the beginning of s, of at most so many characters.
func cutText(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most-1]) + "…"
}

// printCommands writes what an operator can type now.
func printCommands(w io.Writer, commands []string) {
	if len(commands) == 0 {
		return
	}
	printf(w, "\nWhat can be done\n")
	for _, c := range commands {
		printf(w, "  %s\n", c)
	}
}

func others(n int) string {
	if n == 1 {
		return "1 other transaction"
	}
	return fmt.Sprintf("%d other transactions", n)
}

// binaryShown is how many bytes of a body are shown that is no text.
const binaryShown = 512

// printable is a text of several lines that cannot move the cursor.
func printable(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = oneLine(strings.ReplaceAll(l, "\t", "    "))
	}
	return strings.Join(lines, "\n")
}

// flat is a text on one line, with single spaces.
func flat(text string) string { return strings.Join(strings.Fields(oneLine(text)), " ") }

// clock is a time, and how far it is away.
func clock(when, now time.Time) string {
	distance := age(now.Sub(when)) + " ago"
	if when.After(now) {
		distance = "in " + age(when.Sub(now))
	}
	return fmt.Sprintf("%s (%s)", when.In(now.Location()).Format(dateTime), distance)
}

// few names the first of several, and how many there are more.
func few(names []string) string {
	switch len(names) {
	case 0:
		return "-"
	case 1:
		return names[0]
	}
	return fmt.Sprintf("%s +%d", names[0], len(names)-1)
}

func processCount(n int) string {
	if n == 1 {
		return "1 process"
	}
	return fmt.Sprintf("%d processes", n)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
