package deadletters

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/workflows"
)

func TestWhatADeathLeadsTo(t *testing.T) {
	const kept = "it is kept in queue K"
	delays := []time.Duration{time.Minute, time.Hour}
	for name, tc := range map[string]struct {
		death death
		want  verdict
	}{
		"wait":                          {death{group: "g", class: holdfast.ClassError}, verdict{state: workflows.Parked}},
		"wait, kept":                    {death{bound: kept}, verdict{state: workflows.Parked}},
		"compensate":                    {death{group: "g", policy: act(holdfast.PolicyCompensate)}, verdict{state: workflows.Compensating}},
		"compensate, foreign":           {death{policy: act(holdfast.PolicyCompensate)}, verdict{state: workflows.Parked, why: "the policy is to compensate, but " + noGroup}},
		"compensate, kept":              {death{group: "g", bound: kept, policy: act(holdfast.PolicyCompensate)}, verdict{state: workflows.Parked, why: "the policy is to compensate, but " + kept}},
		"compensate after a redelivery": {death{group: "g", redeliveries: 3, policy: act(holdfast.PolicyCompensate)}, verdict{state: workflows.Compensating}},
		"permanent, is":                 {death{group: "g", class: holdfast.ClassPermanent, policy: act(holdfast.PolicyCompensatePermanent)}, verdict{state: workflows.Compensating}},
		"permanent, is not":             {death{group: "g", class: holdfast.ClassTimeout, policy: act(holdfast.PolicyCompensatePermanent)}, verdict{state: workflows.Parked}},
		"permanent, is, foreign":        {death{class: holdfast.ClassPermanent, policy: act(holdfast.PolicyCompensatePermanent)}, verdict{state: workflows.Parked, why: "the policy is to compensate, but " + noGroup}},
		"permanent, is, kept":           {death{group: "g", bound: kept, class: holdfast.ClassPermanent, policy: act(holdfast.PolicyCompensatePermanent)}, verdict{state: workflows.Parked, why: "the policy is to compensate, but " + kept}},
		"redeliver, first":              {death{policy: act(holdfast.PolicyRedeliver, delays...)}, verdict{state: workflows.Waits, wait: time.Minute}},
		"redeliver, second":             {death{redeliveries: 1, policy: act(holdfast.PolicyRedeliver, delays...)}, verdict{state: workflows.Waits, wait: time.Hour}},
		"redeliver, permanent":          {death{class: holdfast.ClassPermanent, policy: act(holdfast.PolicyRedeliver, delays...)}, verdict{state: workflows.Waits, wait: time.Minute}},
		"redeliver, exhausted":          {death{redeliveries: 2, policy: act(holdfast.PolicyRedeliver, delays...)}, verdict{state: workflows.Parked, why: "redelivered 2 times, which is all that the policy wants"}},
		"redeliver, operators did more": {death{redeliveries: 7, policy: act(holdfast.PolicyRedeliver, delays...)}, verdict{state: workflows.Parked, why: "redelivered 7 times, which is all that the policy wants"}},
		"redeliver, kept":               {death{bound: kept, policy: act(holdfast.PolicyRedeliver, delays...)}, verdict{state: workflows.Parked, why: "the policy is to redeliver, but " + kept}},
		"a policy of a later version":   {firstDeath(holdfast.DeadLetter{Policy: act("burn")}), verdict{state: workflows.Parked}},
		"a schedule without delays":     {firstDeath(holdfast.DeadLetter{Policy: act(holdfast.PolicyRedeliver)}), verdict{state: workflows.Parked}},
		"died in a redelivery of another run": {firstDeath(holdfast.DeadLetter{Failure: holdfast.Failure{Redelivery: 1}, Policy: act(holdfast.PolicyRedeliver, delays...)}),
			verdict{state: workflows.Waits, wait: time.Hour}},
		"a letter that is kept elsewhere": {firstDeath(holdfast.DeadLetter{Kept: "K", Size: 9, Group: "g", Policy: act(holdfast.PolicyCompensate)}),
			verdict{state: workflows.Parked, why: "the policy is to compensate, but it has 9 bytes, too many for a workflow: the whole of it is in queue K, to be dealt with there"}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tc.want, tc.death.next()) })
	}
}

func act(a holdfast.PolicyAction, delays ...time.Duration) holdfast.Policy {
	return holdfast.Policy{Action: a, Redeliver: delays}
}

func TestWhatAnAnswerMeans(t *testing.T) {
	for name, tc := range map[string]struct {
		place         place
		n             int
		handled, died hearing
	}{
		"parked, never redelivered: a copy":         {place{state: workflows.Parked}, 0, duplicate, duplicate},
		"parked, never redelivered: an unknown one": {place{state: workflows.Parked}, 1, decisive, decisive},
		"parked: the last one again":                {place{workflows.Parked, 2, false}, 2, decisive, duplicate},
		"parked: an older one":                      {place{workflows.Parked, 2, false}, 1, decisive, duplicate},
		"parked, the last one given up by force":    {place{workflows.Parked, 2, true}, 2, decisive, decisive},
		"waits: a copy":                             {place{workflows.Waits, 1, false}, 0, duplicate, duplicate},
		"waits: the last one again":                 {place{workflows.Waits, 1, false}, 1, decisive, duplicate},
		"redelivering: the answer":                  {place{workflows.Redelivering, 2, true}, 2, decisive, decisive},
		"redelivering: an older one":                {place{workflows.Redelivering, 2, true}, 1, duplicate, duplicate},
		"redelivering: a copy of the first death":   {place{workflows.Redelivering, 2, true}, 0, duplicate, duplicate},
		"redelivering: an unknown one":              {place{workflows.Redelivering, 2, true}, 3, decisive, decisive},
		"compensating: the answer":                  {place{workflows.Compensating, 2, true}, 2, noted, noted},
		"compensating: a copy of the death":         {place{workflows.Compensating, 2, false}, 2, noted, duplicate},
		"compensating: an older one":                {place{workflows.Compensating, 2, true}, 1, noted, duplicate},
		"nonsense":                                  {place{workflows.Redelivering, 2, true}, -1, duplicate, duplicate},
		"handled":                                   {place{workflows.Handled, 2, false}, 2, duplicate, duplicate},
		"discarded by force":                        {place{workflows.Discarded, 2, true}, 2, duplicate, duplicate},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.handled, tc.place.handled(tc.n), "handled")
			require.Equal(t, tc.died, tc.place.died(tc.n), "died")
		})
	}
}
