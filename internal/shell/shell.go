// Package shell writes command lines that people paste into a shell: every command
// that an error, an alert, a log or the CLI's output suggests is made here.
package shell

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Placeholders of suggested commands: what only the operator knows. They are words
// that need no quotes.
const (
	// Text stands for the operator's reason.
	Text = "TEXT"
	// File stands for a file's name.
	File = "FILE"
)

// Word returns s as one word of a shell's command line: as it is where nothing in it
// means anything to a shell, else in quotes. It never holds a line end, a backtick or
// a control character, so that it survives being shown on one line of a terminal and
// between backticks; what has such a character is written in $'…', which POSIX knows
// since 2024, and bash, zsh, ksh and busybox for long.
func Word(s string) string {
	switch {
	case s != "" && strings.IndexFunc(s, special) < 0:
		return s
	case strings.IndexFunc(s, unshown) < 0 && utf8.ValidString(s):
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == '\'' || r == '\\':
			b.WriteString(`\` + s[:n])
		case unshown(r) || r == utf8.RuneError && n == 1:
			for i := range n { // octal, which takes three digits in every shell
				b.Write([]byte{'\\', '0' + s[i]>>6, '0' + s[i]>>3&7, '0' + s[i]&7})
			}
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String() + "'"
}

// special reports whether r may mean something to a shell, or is not plain to see.
func special(r rune) bool {
	plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-,/:@+%", r)
	return !plain
}

// unshown reports whether r cannot stand in quotes: it is not printed as it is, or ends
// what is set in backticks.
func unshown(r rune) bool { return r == '`' || r != ' ' && !unicode.IsPrint(r) }

// Command returns words as a command line.
func Command(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = Word(w)
	}
	return strings.Join(quoted, " ")
}

// Holdfast returns the command line of the program holdfast: its command, such as
// "dead show", the ID of what it is for, which may be empty, and its flags with their
// values. An ID that looks like a flag is written so that it is none.
func Holdfast(command, id string, flags ...string) string {
	words := append([]string{"holdfast"}, strings.Fields(command)...)
	switch {
	case id == "":
		words = append(words, flags...)
	case strings.HasPrefix(id, "-"):
		words = append(append(words, flags...), "--", id)
	default:
		words = append(append(words, id), flags...)
	}
	return Command(words...)
}
