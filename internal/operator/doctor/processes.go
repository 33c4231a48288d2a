package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// namesShown is how many processes are named.
const namesShown = 5

// processes says which processes answered.
func (f *Findings) processes(answers []broker.ProcessStatus, err error) {
	const check = "processes"
	switch {
	case err != nil:
		f.add(text.LevelWarning, check, "see whether RabbitMQ takes publishes, and run doctor again", "unknown: %s",
			text.Of(err))
	case len(answers) == 0:
		f.ok(check, "none answers")
	default:
		var names []string
		for _, p := range answers {
			names = append(names, text.OrDash(p.Instance))
		}
		more := ""
		if n := len(names) - namesShown; n > 0 {
			names, more = names[:namesShown], fmt.Sprintf(" and %d more", n)
		}
		f.ok(check, "%s answering: %s%s", text.ProcessCount(len(answers)), strings.Join(names, ", "), more)
	}
}

// sameNames finds processes of one group that cannot be told apart.
func (f *Findings) sameNames(answers []broker.ProcessStatus) {
	count := map[string]int{}
	for _, p := range answers {
		for _, g := range p.Groups() {
			count[g+" "+p.Instance]++
		}
	}
	for _, name := range text.SortedKeys(count) {
		if n := count[name]; n > 1 {
			group, instance, _ := strings.Cut(name, " ")
			f.add(text.LevelWarning, "names of "+group, "give each process an Options.Instance of its own, such as its pod's "+
				"name, or leave it empty",
				"%d processes of group %s have the Options.Instance %s: nobody can tell them "+
					"apart", n, group, text.OrDash(instance))
		}
	}
}

// sharedQueues finds consumers of one name that want different messages: they share a
// queue, and what one of them wants another one takes.
func (f *Findings) sharedQueues(answers []broker.ProcessStatus) {
	wanted := map[string]map[string]string{} // by consumer and topics: a process
	for _, p := range answers {
		for _, c := range p.Consumers {
			if len(c.Topics) == 0 {
				continue // of an older version
			}
			topics := strings.Join(slices.Sorted(slices.Values(c.Topics)), ", ")
			if wanted[c.Name] == nil {
				wanted[c.Name] = map[string]string{}
			}
			wanted[c.Name][topics] = text.OrDash(p.Instance)
		}
	}
	for _, name := range text.SortedKeys(wanted) {
		if len(wanted[name]) < 2 {
			continue
		}
		var parts []string
		for _, topics := range text.SortedKeys(wanted[name]) {
			parts = append(parts, fmt.Sprintf("%s listens to %s", wanted[name][topics], topics))
		}
		f.add(text.LevelWarning, "topics of "+name, "finish the deployment that changes its topics; if they are two "+
			"consumers, or a consumer and a participant, give one of them another name",
			"processes of consumer %s share a queue, and listen to different topics: %s; what one of them gets that is for "+
				"another becomes a dead letter", name, strings.Join(parts, "; "))
	}
}

// troubles says what processes say is wrong with themselves.
func (f *Findings) troubles(answers []broker.ProcessStatus, now time.Time) {
	for _, p := range answers {
		for _, t := range p.Troubles {
			f.add(text.LevelWarning, "process "+text.OrDash(p.Instance), t.Remedy, "%s%s", t.What, processes.Since(t.Since, now))
		}
	}
}

// breaker says how a consumer's circuit breakers are, one of each process that
// answered. readers is how many RabbitMQ knows, 0 if it was not asked.
func (f *Findings) breaker(name string, of []broker.ConsumerStatus, readers int, now time.Time) {
	check := "breaker " + name
	if len(of) == 0 {
		if readers > 0 {
			f.add(text.LevelWarning, check, "see whether its processes are overloaded, or of a version that does not answer yet",
				"unknown: no process with it answers")
		}
		return
	}
	worst := processes.Severity(slices.MaxFunc(of,
		func(x, y broker.ConsumerStatus) int { return cmp.Compare(processes.Severity(x), processes.Severity(y)) }))
	var first, last broker.ConsumerStatus
	n, handling := 0, 0
	for _, c := range of {
		handling += c.Handling
		if processes.Severity(c) != worst {
			continue
		}
		if n++; n == 1 || c.Since.Before(first.Since) {
			first = c
		}
		if n == 1 || c.Since.After(last.Since) {
			last = c
		}
	}
	where := fmt.Sprintf("in %d of %s", n, text.ProcessCount(len(of)))
	cause := ""
	if last.Error != "" {
		cause = ": last error: " + last.Error
	}
	switch worst {
	case 2:
		f.add(text.LevelWarning, check, "mend the dependency that the error names; it resumes by itself", "open%s %s%s",
			processes.Since(first.Since, now), where, cause)
	case 1:
		f.add(text.LevelWarning, check, "wait: it resumes by itself once its dependency is mended", "probing%s %s%s",
			processes.Since(first.Since, now), where, cause)
	default:
		silent := ""
		if readers > len(of) {
			silent = fmt.Sprintf(", %d more did not answer", readers-len(of))
		}
		f.ok(check, "closed in %s%s; %s in work", text.ProcessCount(len(of)), silent, text.Plural(handling, "message"))
	}
}

// keeper says how the Keeper is that gets a half queue's records.
func (f *Findings) keeper(k processes.KeptQueue, now time.Time) {
	check := "keeper " + k.Label()
	switch {
	case k.Answered == 0 && k.Readers > 0:
		f.add(text.LevelWarning, check, "see whether the group's processes are overloaded, or of a version that does not "+
			"answer yet",
			"unknown: no process with it answers")
	case k.Answered == 0:
	case !k.FailingSince.IsZero() && k.Unable != "":
		f.add(text.LevelProblem, check, "start a process of group "+k.Group+" that has Temporal, and reaches it: it takes "+
			"over, and what waits goes on by itself; nothing is lost meanwhile, and the Express lane goes on sending",
			"%s", k.Failing(now))
	case !k.FailingSince.IsZero():
		f.add(text.LevelProblem, check, "see that Temporal can be reached from it: it goes on by itself then; nothing is "+
			"lost meanwhile, and the Express lane goes on sending",
			"%s", k.Failing(now))
	case k.Keeper == "":
		f.ok(check, "nothing came to any of %d yet", k.Answered)
	case k.Late():
		f.add(text.LevelWarning, check, "see that Temporal can be reached from it: it hands over what stays undecided, "+
			"and tries again by itself; "+f.Code("half peek", k.Group)+" shows what",
			"%s; %d times a half message was not taken over", processes.Held(k), k.Failed)
	case k.Ignored > 0:
		f.add(text.LevelWarning, check, "if processes of an older version still run, set RollingUpgrade in the new ones "+
			"(HOLDFAST_ROLLING_UPGRADE=1) until they are gone; otherwise see who may write to amq.default",
			"%s; %s came through the default exchange, and did not count: their transactions are checked "+
				"back", processes.Held(k), text.Plural(int(k.Ignored), "op record"))
	case k.Unable != "":
		f.ok(check, "%s; it could not hand over what stays undecided: %s", processes.Held(k), k.Unable)
	default:
		f.ok(check, "%s", processes.Held(k))
	}
}

// otherKeepers says which Keepers are in trouble of the groups that were not asked
// about.
func (f *Findings) otherKeepers(answers []broker.ProcessStatus, asked []string, now time.Time) {
	for _, g := range processes.KeptGroups(answers) {
		if slices.Contains(asked, g) {
			continue
		}
		for n := 1; n <= broker.MaxHalfQueues; n++ {
			of := Findings{Suggester: f.Suggester, part: f.part}
			of.keeper(processes.Kept(g, n, broker.QueueInfo{}, answers), now)
			for _, found := range of.All {
				if found.Level != text.LevelOK {
					f.All = append(f.All, found)
				}
			}
		}
	}
}
