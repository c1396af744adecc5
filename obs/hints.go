package obs

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/kumihimo/kumihimo/obs/gcpauth"
)

// hintForRefusal is the command that lets the agent's requests in.
func hintForRefusal(r gcpauth.Refusal, agentURL string) string {
	svc := serviceOf(agentURL)
	switch r.Status {
	case http.StatusForbidden:
		return fmt.Sprintf("gcloud run services add-iam-policy-binding %s --region=%s --member=%s --role=%s",
			svc.name, svc.region, shellWord(member(r.Identity)), r.Role)
	case http.StatusUnauthorized:
		return fmt.Sprintf("set OBS_AGENT_AUDIENCE to the service's URL, or make it take this audience too: gcloud run services update %s --region=%s --add-custom-audiences=%s",
			svc.name, svc.region, shellWord(strings.Join(r.Audience, ",")))
	}
	return ""
}

// member is an identity as IAM's policies name it. See
// https://cloud.google.com/iam/docs/principal-identifiers.
func member(identity string) string {
	switch {
	case strings.HasSuffix(identity, ".gserviceaccount.com"):
		return "serviceAccount:" + identity
	case strings.Contains(identity, "@"):
		return "user:" + identity
	}
	return "serviceAccount:EMAIL" // a token without an email has a number alone
}

// runService is a Cloud Run service as gcloud's commands name it; what is not
// known stands in capitals.
type runService struct {
	name, region string
}

// serviceOf reads a run.app URL, in both forms that Cloud Run gives out:
// https://NAME-PROJECTNUMBER.REGION.run.app and https://NAME-HASH-CODE.a.run.app,
// each with a tag, TAG---, before it or not. See
// https://cloud.google.com/run/docs/triggering/https-request.
func serviceOf(raw string) runService {
	s := runService{name: "SERVICE", region: "REGION"}
	u, err := url.Parse(raw)
	if err != nil {
		return s
	}
	label, rest, _ := strings.Cut(strings.ToLower(u.Hostname()), ".")
	place, ok := strings.CutSuffix(rest, ".run.app")
	if !ok || strings.Contains(place, ".") {
		return s
	}
	if _, after, tagged := strings.Cut(label, "---"); tagged {
		label = after
	}
	parts := 1 // after the name
	if place == "a" {
		parts = 2
	}
	for ; parts > 0; parts-- {
		i := strings.LastIndexByte(label, '-')
		if i <= 0 {
			return s
		}
		label = label[:i]
	}
	if s.name = label; place != "a" {
		s.region = place
	}
	return s
}

// shellWord quotes s for a POSIX shell where that is needed: the commands here
// are made to be copied, and an audience can be any text.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("@%+=:,./-_", r)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
	return "'" + strings.ReplaceAll(clean, "'", `'\''`) + "'"
}
