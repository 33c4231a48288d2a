package text

import (
	"regexp"
	"strings"
)

// NormalError is an error's text without what differs from message to message, so that
// the same error on a thousand messages is one. Numbers become <n>, UUIDs <uuid>,
// hexadecimal text <hex>, quoted values <text>; the names of what a database has
// (a constraint, a table) and codes stay, since they say which error it is. It changes
// nothing in its own result.
func NormalError(text string) string {
	text = flat(text)
	cut := len(text) >= cutLength
	for before := ""; before != text; { // a match may use up what begins the next
		before = text
		text = replaceVariables(text, cut)
	}
	return text
}

// replaceVariables puts placeholders for what differs.
func replaceVariables(text string, cut bool) string {
	var kept []string
	text = strings.Map(func(r rune) rune {
		if r >= firstMark && r <= lastMark {
			return '?'
		}
		return r
	}, text)
	text = constants.ReplaceAllStringFunc(text, func(s string) string {
		if firstMark+len(kept) > lastMark {
			return s
		}
		kept = append(kept, s)
		return string(rune(firstMark + len(kept) - 1))
	})
	for _, v := range variables {
		text = v.pattern.ReplaceAllString(text, v.placeholder)
	}
	if cut {
		text = openQuotation.ReplaceAllString(text, "<text>")
	}
	if len(kept) == 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if i := int(r) - firstMark; i >= 0 && i < len(kept) {
			b.WriteString(kept[i])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// The marks stand for what is kept while the rest is replaced: characters that mean
// nothing in Unicode.
const firstMark, lastMark = 0xE000, 0xF8FF

// cutLength is the length from which an error's text may have been cut, so that
// a quotation in it is not closed.
const cutLength = 450

var openQuotation = regexp.MustCompile(`"[^"]*$`)

// constants are what says which error it is, although it has quotes or numbers: names
// in a database, as PostgreSQL writes them, and the codes of errors.
var constants = regexp.MustCompile(strings.Join([]string{
	`\b(?i:constraint|table|relation|column|index|sequence|view|schema|database|role|function|trigger|` +
		`type|extension|domain|policy|partition) "[^"]+"`,
	`\b(?i:constraint|table|relation|column|sequence|schema) [A-Za-z_][A-Za-z0-9_$.]*\b`,
	`\bSQLSTATE[ :=]*[0-9A-Z]{5}\b`,
	`\bORA-[0-9]{5}\b`,
	`\bHTTP(?:/[0-9.]+)? [1-5][0-9]{2}\b`,
	`\b(?i:status|code|exception)(?i: code)?[ :=(]+[1-5][0-9]{2}\b`,
	`\b(?i:exit (?:status|code)|errno)[ :=]+[0-9]{1,3}\b`,
}, "|"))

// variables are what differs, in the order of their replacement.
var variables = []struct {
	pattern     *regexp.Regexp
	placeholder string
}{
	{regexp.MustCompile(`"(?:[^"\\]|\\.)*(?:"|(?:…|\.\.\.)$)`), "<text>"},
	{regexp.MustCompile("`[^`]*`"), "<text>"},
	{regexp.MustCompile(`“[^”]*”|«[^»]*»`), "<text>"},
	{regexp.MustCompile(`(^|[^\pL\pN])'[^']*'($|[^\pL\pN])`), "${1}<text>${2}"}, // but no apostrophe
	{regexp.MustCompile(`(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "<uuid>"},
	{regexp.MustCompile(`(?i)\b0x[0-9a-f]+\b`), "<hex>"},
	{regexp.MustCompile(`(?i)\b(?:[a-f]+[0-9]|[0-9]+[a-f])[0-9a-f]{6,}\b`), "<hex>"}, // 8 or more, digits and letters
	{regexp.MustCompile(`[0-9]+(?:[.,:][0-9]+)*`), "<n>"},
}

// placeholder is what stands for what differs, and standsFor what that may be.
var (
	placeholder = regexp.MustCompile(`<(?:n|uuid|hex|text)>`)
	standsFor   = map[string]string{"<n>": `([0-9]+(?:[.,:][0-9]+)*)`, "<uuid>": `([0-9A-Fa-f-]{36})`,
		"<hex>": `([0-9A-Fa-fxX]+)`, "<text>": `(.+?)`}
)

// asPattern is a text with placeholders as a pattern for what it may stand for.
func asPattern(text string) string {
	var b strings.Builder
	at := 0
	for _, p := range placeholder.FindAllStringIndex(text, -1) {
		b.WriteString(regexp.QuoteMeta(text[at:p[0]]))
		b.WriteString(standsFor[text[p[0]:p[1]]])
		at = p[1]
	}
	return b.String() + regexp.QuoteMeta(text[at:])
}

// CommonError is the text of errors that are the same but for what differs between
// them: of what could differ, only that is a placeholder which does.
type CommonError struct {
	normal string
	shape  *regexp.Regexp
	values []string // of the placeholders; empty: they differ
}

// NewCommonError begins with the error of the first one.
func NewCommonError(reason string) *CommonError {
	c := &CommonError{normal: NormalError(reason)}
	shape, err := regexp.Compile("^" + asPattern(c.normal) + "$")
	if err != nil { // it is too long
		return c
	}
	if found := shape.FindStringSubmatch(flat(reason)); found != nil {
		c.shape, c.values = shape, found[1:]
	}
	return c
}

// Add takes another error of the same normal text.
func (c *CommonError) Add(reason string) {
	if c.shape == nil {
		return
	}
	found := c.shape.FindStringSubmatch(flat(reason))
	if found == nil {
		c.shape = nil
		return
	}
	for i, v := range found[1:] {
		if c.values[i] != v {
			c.values[i] = ""
		}
	}
}

func (c *CommonError) String() string {
	if c.shape == nil {
		return c.normal
	}
	i := -1
	return placeholder.ReplaceAllStringFunc(c.normal, func(p string) string {
		if i++; i < len(c.values) && c.values[i] != "" {
			return c.values[i]
		}
		return p
	})
}

// HasError reports whether an error's text has this text: as it is, as NormalError
// writes it, or with placeholders for some of what differs.
func HasError(reason, text string) bool {
	if strings.Contains(reason, text) || strings.Contains(flat(reason), text) {
		return true
	}
	normal := NormalError(reason)
	if strings.Contains(normal, text) {
		return true
	}
	if !placeholder.MatchString(text) || !strings.Contains(normal, NormalError(text)) {
		return false
	}
	shape, err := regexp.Compile(asPattern(text))
	return err == nil && shape.MatchString(flat(reason))
}
