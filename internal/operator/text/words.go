package text

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Plural counts things, such as "1 saga" or "2 sagas".
func Plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// OneLine makes s fit for a cell: what others wrote must not move the cursor.
func OneLine(s string) string {
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

// OrDash stands in for an empty cell.
func OrDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Age is a duration as people say it: its largest unit or two.
func Age(d time.Duration) string {
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

// DateTime is how times are written.
const DateTime = "2006-01-02 15:04:05"

// Capital begins a sentence with s.
func Capital(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// Join lists names for a sentence.
func Join(names []string) string { return strings.Join(names, ", ") }

// CutText is the beginning of s, of at most so many characters.
func CutText(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most-1]) + "…"
}

// PrintCommands writes what an operator can type now.
func PrintCommands(w io.Writer, commands []string) {
	if len(commands) == 0 {
		return
	}
	Printf(w, "\nWhat can be done\n")
	for _, c := range commands {
		Printf(w, "  %s\n", c)
	}
}

// Others counts further transactions.
func Others(n int) string {
	if n == 1 {
		return "1 other transaction"
	}
	return fmt.Sprintf("%d other transactions", n)
}

// BinaryShown is how many bytes of a body are shown that is no text.
const BinaryShown = 512

// Printable is a text of several lines that cannot move the cursor.
func Printable(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = OneLine(strings.ReplaceAll(l, "\t", "    "))
	}
	return strings.Join(lines, "\n")
}

// flat is a text on one line, with single spaces.
func flat(text string) string { return strings.Join(strings.Fields(OneLine(text)), " ") }

// Clock is a time, and how far it is away.
func Clock(when, now time.Time) string {
	distance := Age(now.Sub(when)) + " ago"
	if when.After(now) {
		distance = "in " + Age(when.Sub(now))
	}
	return fmt.Sprintf("%s (%s)", when.In(now.Location()).Format(DateTime), distance)
}

// Few names the first of several, and how many there are more.
func Few(names []string) string {
	switch len(names) {
	case 0:
		return "-"
	case 1:
		return names[0]
	}
	return fmt.Sprintf("%s +%d", names[0], len(names)-1)
}

// ProcessCount counts processes.
func ProcessCount(n int) string {
	if n == 1 {
		return "1 process"
	}
	return fmt.Sprintf("%d processes", n)
}

// SortedKeys are the keys of m in order.
func SortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
