package sagacohort

import (
	"fmt"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

const (
	// maxBytes is the limit on the first states of one cohort together, in bytes of JSON.
	maxBytes = 512 << 10
	// maxKeys is the limit on the keys of one workflow's HoldfastKey, in bytes of JSON;
	// Temporal refuses a search attribute of more than 2 KiB.
	maxKeys = 2000
	// maxDetails is less than what Temporal takes as a workflow's details, in bytes.
	maxDetails = 16 << 10
)

// Load is what the members of a cohort add up to. The zero value is that of an empty one.
type Load struct {
	members, bytes, keys int
	names                []string
}

// With returns the load with one member more.
func (l Load) With(m activities.SagaMember) Load {
	l.members++
	l.bytes += 400 + len(m.ID) + 2*len(m.Start.Key) + len(m.Start.State)
	l.keys += workflows.JSONLength(keyOf(m)) + 1
	if !slices.Contains(l.names, m.Start.Name) {
		l.names = append(slices.Clip(l.names), m.Start.Name)
		l.keys += workflows.JSONLength(m.Start.Name) + 1
	}
	return l
}

// Fits reports whether so much may share a workflow; one member always does.
func (l Load) Fits() bool { return l.members <= 1 || l.bytes <= maxBytes && l.keys <= maxKeys-2 }

// StartOptions are the options with which a cohort's workflow is started.
func StartOptions(workflowID string, in Input, taskTimeout time.Duration) client.StartWorkflowOptions {
	keys := keysOf(in.Members)
	return client.StartWorkflowOptions{
		ID:                                       workflowID,
		TaskQueue:                                workflows.TaskQueue(in.Prefix, in.Group),
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		WorkflowTaskTimeout:                      taskTimeout,
		EnableEagerStart:                         true,
		StaticSummary:                            workflows.Shorten("sagas: " + counted(in.Members)),
		StaticDetails:                            workflows.Clip(details(in), maxDetails),
		TypedSearchAttributes: temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword(workflows.AttributeTopic).ValueSet(
				workflows.Clip(in.Members[0].Start.Name, 255)),
			workflows.SetKeys(keys)),
	}
}

// keysOf are what finds the members: their keys and, where these differ, the names of their
// definitions.
func keysOf(members []activities.SagaMember) (keys []string) {
	var names []string
	for _, m := range members {
		keys, names = append(keys, keyOf(m)), append(names, m.Start.Name)
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) > 1 {
		keys = append(keys, names...)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func keyOf(m activities.SagaMember) string { return workflows.Clip(m.Start.Key, holdfast.MaxName) }

func details(in Input) string {
	var ids strings.Builder
	for _, m := range in.Members {
		fmt.Fprintf(&ids, "- %s\n", workflows.Code(m.ID))
	}
	return fmt.Sprintf("Sagas of producer group %s that were started at the same moment share this workflow: %s.\n\n"+
		"Each round's result says what each of them did in it. One that does not end well at once goes on in a workflow "+
		"of its own, which has its ID. `holdfast saga show ID` shows one, and `holdfast saga compensate ID` "+
		"undoes it.\n\n%s", workflows.Code(in.Group), counted(in.Members), ids.String())
}
