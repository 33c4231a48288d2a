package install

import (
	"bytes"
	"strings"
)

// goOutput takes what `go install -v` prints: which modules it downloads and which packages
// it compiles, for tell, and everything else, which is why it fails, for an error.
type goOutput struct {
	// most is how many packages there are; those that were compiled before are not named.
	most int
	tell func(format string, args ...any)

	rest                 []byte // of a line that has not ended
	compiled, downloaded int
	said                 strings.Builder
}

// Write implements io.Writer.
func (o *goOutput) Write(text []byte) (int, error) {
	o.rest = append(o.rest, text...)
	for {
		line, rest, ended := bytes.Cut(o.rest, []byte("\n"))
		if !ended {
			return len(text), nil
		}
		o.line(strings.TrimSuffix(string(line), "\r"))
		o.rest = rest
	}
}

func (o *goOutput) line(line string) {
	module, downloads := strings.CutPrefix(line, "go: downloading ")
	switch {
	case downloads:
		o.downloaded++
		o.tell("%d modules downloaded, now %s", o.downloaded, module)
	case line != "" && !strings.ContainsAny(line, " \t:#"): // the path of a package
		o.compiled++
		o.tell("%d of up to %d packages compiled, now %s", o.compiled, max(o.most, o.compiled), line)
	default:
		o.said.WriteString(line + "\n")
	}
}

// why is what it printed beside its progress.
func (o *goOutput) why() string { return o.said.String() + string(o.rest) }
