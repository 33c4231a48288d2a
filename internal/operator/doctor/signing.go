package doctor

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// modeOff stands for a process that signs nothing; one of an older version says no more.
const modeOff = "off"

// notSigned ends the reason of a record without a signature. Each other one says that somebody
// signs, and with what this process does not have.
const notSigned = "it is not signed"

// strangeFor is how long after the last record that was signed with other keys it is told: then
// they are the same, or nobody writes any more.
const strangeFor = time.Hour

// signing says what processes do with signatures of control records, and what came of it.
func (f *Findings) signing(answers []broker.ProcessStatus, now time.Time) {
	modes := map[string][]string{} // names of processes, by mode
	keys := map[string]bool{}
	for _, p := range answers {
		mode := modeOff
		if s := p.Signing; s != nil {
			mode = text.OneLine(string(s.Mode))
			f.signatures(p, now)
			if s.Key != "" {
				keys[text.OneLine(s.Key)] = true
			}
		}
		modes[mode] = append(modes[mode], text.OrDash(p.Instance))
	}
	off, required := modes[modeOff], modes[string(holdfast.SigningRequired)]
	switch {
	case len(off) == len(answers):
	case len(off) > 0 && len(required) > 0:
		f.add(text.LevelProblem, "signing", "give these processes HOLDFAST_SIGNING_KEYRING, or set HOLDFAST_SIGNING to on "+
			"where it is required, until they have it: see docs/signing.md",
			"what %s sends is refused by %s: it is not signed", text.Join(off), text.Join(required))
	case len(off) > 0:
		f.add(text.LevelWarning, "signing", "give these processes HOLDFAST_SIGNING_KEYRING: see docs/signing.md",
			"%s does not sign control records; others do", text.Join(off))
	default:
		f.add(text.LevelOK, "signing", "", "%s%s", modesText(modes), keysText(keys))
	}
}

func modesText(modes map[string][]string) string {
	var parts []string
	for _, mode := range text.SortedKeys(modes) {
		parts = append(parts, fmt.Sprintf("%s in %s", mode, text.ProcessCount(len(modes[mode]))))
	}
	return strings.Join(parts, ", ")
}

func keysText(keys map[string]bool) string {
	if len(keys) == 0 {
		return ""
	}
	return "; key " + strings.Join(text.SortedKeys(keys), ", ")
}

// signatures says which records a process refused, or took without a signature.
func (f *Findings) signatures(p broker.ProcessStatus, now time.Time) {
	s := p.Signing
	last := fmt.Sprintf("the last one at %s, through the exchange %s: %s", s.Last.In(now.Location()).Format(text.DateTime),
		text.OrDash(text.OneLine(s.From)), text.OneLine(s.Why))
	switch {
	case s.Refused > 0:
		f.add(text.LevelWarning, "refused signatures", "see docs/runbook/refused-signature.md: find who writes there "+
			"without the keys; what was refused is with the dead letters",
			"process %s refused %s, since their signatures do not count; %s", text.OrDash(p.Instance),
			text.Plural(int(min(s.Refused, 1<<31)), "record"), last)
	case s.Unsigned > 0 && !strings.HasSuffix(s.Why, notSigned) && now.Sub(s.Last) < strangeFor:
		f.add(text.LevelWarning, "other signing keys", "bring one file of keys to all processes of the installation, before "+
			"HOLDFAST_SIGNING is required: see docs/signing.md",
			"process %s took %s whose signatures do not count, since that is not required; %s", text.OrDash(p.Instance),
			text.Plural(int(min(s.Unsigned, 1<<31)), "record"), last)
	case s.Unsigned > 0:
		f.add(text.LevelOK, "unsigned records", "", "process %s took %s without a signature that counts, since it is not "+
			"required; %s", text.OrDash(p.Instance), text.Plural(int(min(s.Unsigned, 1<<31)), "record"), last)
	}
}
