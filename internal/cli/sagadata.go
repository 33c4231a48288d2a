package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// readJSON reads the value of a flag that takes JSON: as it is, from a file
// (@FILE) or from the standard input (-). It has at most limit bytes.
func readJSON(a *app, flag, value string, limit int) (json.RawMessage, error) {
	from := flag
	switch name, file := strings.CutPrefix(value, "@"); {
	case value == "-":
		b, err := io.ReadAll(io.LimitReader(a.In, int64(limit)+1))
		if err != nil {
			return nil, fmt.Errorf("%s: read the standard input: %w", flag, err)
		}
		value, from = string(b), flag+": the standard input"
	case file:
		f, err := os.Open(name)
		if err != nil {
			return nil, usagef("%s: %w", flag, err)
		}
		defer func() { _ = f.Close() }()
		b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		value, from = string(b), flag+": "+name
	}
	switch {
	case len(value) > limit:
		return nil, usagef("%s: it has more than %d bytes: store large data elsewhere and give a reference", from, limit)
	case !json.Valid([]byte(value)):
		return nil, usagef("%s: it is no JSON: want such as '{\"order\": \"A-1007\"}', @FILE or -", from)
	}
	return json.RawMessage(value), nil
}
