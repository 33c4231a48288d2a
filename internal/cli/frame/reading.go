package frame

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// ReadJSON reads the value of a flag that takes JSON: as it is, from a file
// (@FILE) or from the standard input (-). It has at most limit bytes.
func ReadJSON(a *App, flag, value string, limit int) (json.RawMessage, error) {
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
			return nil, text.Usagef("%s: %w", flag, err)
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
		return nil, text.Usagef("%s: it has more than %d bytes: store large data elsewhere and give a reference", from, limit)
	case !json.Valid([]byte(value)):
		return nil, text.Usagef("%s: it is no JSON: want such as '{\"order\": \"A-1007\"}', @FILE or -", from)
	}
	return json.RawMessage(value), nil
}

// ReadBody reads a message's body: from a file, from the standard input (-), or, where no
// file is named, as it was given. What is longer than a body may be is cut a byte behind.
func ReadBody(in io.Reader, file, given string) ([]byte, error) {
	switch file {
	case "":
		return []byte(given), nil
	case "-":
	default:
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	body, err := io.ReadAll(io.LimitReader(in, holdfast.MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	return body, nil
}
