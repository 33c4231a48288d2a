package wire

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/brief"
)

const (
	MaxText = 255 // of names, topics, keys and IDs; AMQP's limit on most of them
	// MaxShort is AMQP's limit on a short string, in bytes: a name, a routing key, a
	// property, the name of a header.
	MaxShort  = 255
	MaxReason = 2 << 10
)

// HeaderText turns a header's value into text: other AMQP clients write
// numbers, booleans, byte strings, times, arrays and tables.
func HeaderText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		return string(v)
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case amqp.Decimal:
		return decimalText(v)
	case []any, amqp.Table:
		if text, err := json.Marshal(plain(v)); err == nil {
			return string(text)
		}
	}
	return fmt.Sprint(v)
}

func decimalText(d amqp.Decimal) string {
	s := strconv.FormatInt(int64(d.Value), 10)
	if d.Scale == 0 {
		return s
	}
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	scale := int(d.Scale)
	if len(s) <= scale {
		s = strings.Repeat("0", scale-len(s)+1) + s
	}
	return sign + s[:len(s)-scale] + "." + s[len(s)-scale:]
}

// plain makes of nested header values what encoding/json can write.
func plain(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case amqp.Table:
		out := make(map[string]any, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out[k] = plain(v[k])
		}
		return out
	case string, bool, nil, int8, int16, int32, int64, uint8, uint16, uint32, uint64, int, uint:
		return v
	}
	return HeaderText(v)
}

// Number reads a count; what is none is 0.
func Number(v any) int {
	n, err := strconv.ParseInt(HeaderText(v), 10, 32)
	if err != nil || n < 0 {
		return 0
	}
	return int(n)
}

// HeaderCount is 0 for what is no number.
func HeaderCount(h amqp.Table, name string) int {
	v, ok := h[name]
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(HeaderText(v))
	if err != nil {
		return 0
	}
	return min(max(n, 0), MaxCount)
}

// setText sets a header of Holdfast's, or removes it if there is no value.
func setText(headers amqp.Table, name, value string) {
	if value == "" {
		delete(headers, name)
		return
	}
	headers[name] = Clip(value, 255)
}

// SetCount sets a header to a count, or removes it if that is 0.
func SetCount(headers amqp.Table, name string, n int) {
	if n == 0 {
		delete(headers, name)
		return
	}
	headers[name] = strconv.Itoa(n)
}

// Clip shortens s to at most n bytes, at a character's boundary, and marks that.
func Clip(s string, n int) string { return brief.Text(s, n) }

// OneLine makes text that JSON hardly lengthens.
func OneLine(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, Clip(s, n))
	return strings.ToValidUTF8(s, "?")
}

// PlainText returns s as at most n bytes of UTF-8 without control characters
// other than line ends and tabs.
func PlainText(s string, n int) string { return Clip(withoutControls(s, "\n\t"), n) }

// NameText is PlainText for what can be part of a name, or of an ID.
func NameText(s string) string { return Clip(withoutControls(s, ""), MaxText) }

func withoutControls(s, but string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && !strings.ContainsRune(but, r) {
			return utf8.RuneError
		}
		return r
	}, ValidUTF8(s))
}

// ValidUTF8 replaces what is not UTF-8.
func ValidUTF8(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// plainID reports whether s can be a part of names and workflow IDs.
func plainID(s string, limit int) bool {
	return s != "" && len(s) <= limit && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func knownClass(s string) holdfast.ErrorClass {
	switch c := holdfast.ErrorClass(s); c {
	case holdfast.ClassError, holdfast.ClassTimeout, holdfast.ClassPanic, holdfast.ClassLost,
		holdfast.ClassPermanent, holdfast.ClassMalformed, holdfast.ClassDropped:
		return c
	}
	return holdfast.ClassError
}

// writableTime returns t in UTC, or no time where JSON has no form for it.
func writableTime(t time.Time) time.Time {
	if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// ShortList names the first few of what there is.
func ShortList(names []string) string {
	const most = 20
	if n := len(names) - most; n > 0 {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(names, ", ")
}
