package measure

import (
	"strings"
	"unicode"
)

// window is how many lines in a row have to be the same before they count as repeated.
// Shorter pieces are what Go makes everybody repeat, such as an error that is returned.
const window = 6

// Repeated returns the share of lines, from 0 to 1, that also stand elsewhere: those
// within a window of six lines that occurs more than once. Lines are compared without
// indentation; first, what says nothing by itself is left out: blank lines, comments, the
// package clause, imports, and lines without a letter or digit, such as a closing brace.
func Repeated(files []File) float64 {
	type place struct{ file, line int }
	code := make([][]string, len(files))
	seen := map[string][]place{}
	total := 0
	for i, f := range files {
		code[i] = statements(f)
		total += len(code[i])
		for at := range len(code[i]) - window + 1 {
			key := strings.Join(code[i][at:at+window], "\n")
			seen[key] = append(seen[key], place{i, at})
		}
	}
	repeated := map[place]bool{}
	for _, places := range seen {
		if len(places) < 2 {
			continue
		}
		for _, p := range places {
			for n := range window {
				repeated[place{p.file, p.line + n}] = true
			}
		}
	}
	if total == 0 {
		return 0
	}
	return float64(len(repeated)) / float64(total)
}

// statements are the lines of f that can be called repeated, without indentation.
func statements(f File) []string {
	var all []string
	inImports, inComment := false, false
	for _, line := range f.Lines() {
		line = strings.TrimSpace(line)
		switch {
		case inImports:
			inImports = line != ")"
		case inComment:
			inComment = !strings.HasSuffix(line, "*/")
		case line == "import (":
			inImports = true
		case strings.HasPrefix(line, "/*"):
			inComment = !strings.HasSuffix(line, "*/")
		case !strings.ContainsFunc(line, wordy), strings.HasPrefix(line, "//"),
			strings.HasPrefix(line, "package "), strings.HasPrefix(line, "import "):
		default:
			all = append(all, line)
		}
	}
	return all
}

func wordy(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
