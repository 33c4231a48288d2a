package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/broker"
)

// namesShown is how many processes are named.
const namesShown = 5

// processes says which processes answered.
func (f *findings) processes(answers []broker.ProcessStatus, err error) {
	const check = "processes"
	switch {
	case err != nil:
		f.add(levelWarning, check, "see whether RabbitMQ takes publishes, and run doctor again", "unknown: %s", text(err))
	case len(answers) == 0:
		f.ok(check, "none answers")
	default:
		var names []string
		for _, p := range answers {
			names = append(names, orDash(p.Instance))
		}
		more := ""
		if n := len(names) - namesShown; n > 0 {
			names, more = names[:namesShown], fmt.Sprintf(" and %d more", n)
		}
		f.ok(check, "%s answering: %s%s", processCount(len(answers)), strings.Join(names, ", "), more)
	}
}

// sameNames finds processes of one group that cannot be told apart.
func (f *findings) sameNames(answers []broker.ProcessStatus) {
	count := map[string]int{}
	for _, p := range answers {
		for _, g := range p.Groups() {
			count[g+" "+p.Instance]++
		}
	}
	for _, name := range sortedKeys(count) {
		if n := count[name]; n > 1 {
			group, instance, _ := strings.Cut(name, " ")
			f.add(levelWarning, "names of "+group, "give each process an Options.Instance of its own, such as its pod's name, or leave it empty",
				"%d processes of group %s have the Options.Instance %s: nobody can tell them apart", n, group, orDash(instance))
		}
	}
}

// sharedQueues finds consumers of one name that want different messages: they share a
// queue, and what one of them wants another one takes.
func (f *findings) sharedQueues(answers []broker.ProcessStatus) {
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
			wanted[c.Name][topics] = orDash(p.Instance)
		}
	}
	for _, name := range sortedKeys(wanted) {
		if len(wanted[name]) < 2 {
			continue
		}
		var parts []string
		for _, topics := range sortedKeys(wanted[name]) {
			parts = append(parts, fmt.Sprintf("%s listens to %s", wanted[name][topics], topics))
		}
		f.add(levelWarning, "topics of "+name, "finish the deployment that changes its topics; if they are two consumers, or a consumer and a participant, give one of them another name",
			"processes of consumer %s share a queue, and listen to different topics: %s; what one of them gets that is for another becomes a dead letter", name, strings.Join(parts, "; "))
	}
}

// troubles says what processes say is wrong with themselves.
func (f *findings) troubles(answers []broker.ProcessStatus, now time.Time) {
	for _, p := range answers {
		for _, t := range p.Troubles {
			f.add(levelWarning, "process "+orDash(p.Instance), t.Remedy, "%s%s", t.What, since(t.Since, now))
		}
	}
}

// breaker says how a consumer's circuit breakers are, one of each process that
// answered. readers is how many RabbitMQ knows, 0 if it was not asked.
func (f *findings) breaker(name string, of []broker.ConsumerStatus, readers int, now time.Time) {
	check := "breaker " + name
	if len(of) == 0 {
		if readers > 0 {
			f.add(levelWarning, check, "see whether its processes are overloaded, or of a version that does not answer yet",
				"unknown: no process with it answers")
		}
		return
	}
	worst := severity(slices.MaxFunc(of, func(x, y broker.ConsumerStatus) int { return cmp.Compare(severity(x), severity(y)) }))
	var first, last broker.ConsumerStatus
	n, handling := 0, 0
	for _, c := range of {
		handling += c.Handling
		if severity(c) != worst {
			continue
		}
		if n++; n == 1 || c.Since.Before(first.Since) {
			first = c
		}
		if n == 1 || c.Since.After(last.Since) {
			last = c
		}
	}
	where := fmt.Sprintf("in %d of %s", n, processCount(len(of)))
	cause := ""
	if last.Error != "" {
		cause = ": last error: " + last.Error
	}
	switch worst {
	case 2:
		f.add(levelWarning, check, "mend the dependency that the error names; it resumes by itself", "open%s %s%s", since(first.Since, now), where, cause)
	case 1:
		f.add(levelWarning, check, "wait: it resumes by itself once its dependency is mended", "probing%s %s%s", since(first.Since, now), where, cause)
	default:
		silent := ""
		if readers > len(of) {
			silent = fmt.Sprintf(", %d more did not answer", readers-len(of))
		}
		f.ok(check, "closed in %s%s; %s in work", processCount(len(of)), silent, plural(handling, "message"))
	}
}

// keeper says how the Keeper is that gets a half queue's records.
func (f *findings) keeper(k keptQueue, now time.Time) {
	check := "keeper " + k.label()
	switch {
	case k.answered == 0 && k.Readers > 0:
		f.add(levelWarning, check, "see whether the group's processes are overloaded, or of a version that does not answer yet",
			"unknown: no process with it answers")
	case k.answered == 0:
	case !k.FailingSince.IsZero() && k.Unable != "":
		f.add(levelProblem, check, "start a process of group "+k.Group+" that has Temporal, and reaches it: it takes over, and what waits goes on by itself; nothing is lost meanwhile, and the Express lane goes on sending",
			"%s", k.failing(now))
	case !k.FailingSince.IsZero():
		f.add(levelProblem, check, "see that Temporal can be reached from it: it goes on by itself then; nothing is lost meanwhile, and the Express lane goes on sending",
			"%s", k.failing(now))
	case k.Keeper == "":
		f.ok(check, "nothing came to any of %d yet", k.answered)
	case k.late():
		f.add(levelWarning, check, "see that Temporal can be reached from it: it hands over what stays undecided, and tries again by itself; "+f.code("half peek", k.Group)+" shows what",
			"%s; %d times a half message was not taken over", held(k), k.Failed)
	case k.Ignored > 0:
		f.add(levelWarning, check, "if processes of an older version still run, set RollingUpgrade in the new ones (HOLDFAST_ROLLING_UPGRADE=1) until they are gone; otherwise see who may write to amq.default",
			"%s; %s came through the default exchange, and did not count: their transactions are checked back", held(k), plural(int(k.Ignored), "op record"))
	case k.Unable != "":
		f.ok(check, "%s; it could not hand over what stays undecided: %s", held(k), k.Unable)
	default:
		f.ok(check, "%s", held(k))
	}
}

// otherKeepers says which Keepers are in trouble of the groups that were not asked
// about.
func (f *findings) otherKeepers(answers []broker.ProcessStatus, asked []string, now time.Time) {
	for _, g := range keptGroups(answers) {
		if slices.Contains(asked, g) {
			continue
		}
		for n := 1; n <= broker.MaxHalfQueues; n++ {
			of := findings{suggester: f.suggester, part: f.part}
			of.keeper(kept(g, n, broker.QueueInfo{}, answers), now)
			for _, found := range of.all {
				if found.Level != levelOK {
					f.all = append(f.all, found)
				}
			}
		}
	}
}
