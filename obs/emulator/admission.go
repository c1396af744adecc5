package emulator

import (
	"fmt"
	"html"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// serverlessHeader carries the token where Authorization is the service's
	// own. See
	// https://cloud.google.com/run/docs/authenticating/service-to-service.
	serverlessHeader = "X-Serverless-Authorization"

	// signatureRemoved stands where the signature was, so that the backend
	// cannot use a caller's token.
	signatureRemoved = "SIGNATURE_REMOVED_BY_GOOGLE"

	noPermission = "Your client does not have permission to get URL <code>%s</code> from this server."
	noAccess     = "Your client does not have permission to the requested URL <code>%s</code>."
	tooLarge     = "Your client issued a request that was too large."
	noBackend    = "The service you requested is not available yet.<p>Please try again in 30 seconds."
)

// admit checks the token of r, and takes out of r what the backend must not
// see. A status other than 0 is the refusal's.
func (f *FrontEnd) admit(r *http.Request) (status int, reason string) {
	if f.opts.Metadata == nil {
		return 0, ""
	}
	name := serverlessHeader
	if r.Header.Get(name) == "" {
		name = "Authorization"
	}
	value := r.Header.Get(name)
	if value == "" {
		return http.StatusForbidden, "no token"
	}
	kind, token, _ := strings.Cut(value, " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(kind, "Bearer") || token == "" {
		return http.StatusUnauthorized, "want a bearer token"
	}
	key, err := f.opts.Metadata.signer()
	if err != nil {
		return http.StatusInternalServerError, err.Error()
	}
	c, err := key.verify(token, f.opts.Audience, time.Now())
	if err != nil {
		return http.StatusUnauthorized, err.Error()
	}
	if f.opts.Invokers != nil && !slices.Contains(f.opts.Invokers, c.Email) {
		return http.StatusForbidden, c.Email + " lacks the role run.invoker"
	}
	if name == serverlessHeader {
		r.Header.Del(name)
	} else {
		r.Header.Set(name, kind+" "+token[:strings.LastIndexByte(token, '.')+1]+signatureRemoved)
	}
	return 0, ""
}

// refuse answers as Google's front end does. The reason, which Google keeps to
// itself, is in a header for whoever looks for a mistake.
func refuse(w http.ResponseWriter, r *http.Request, status int, reason string) {
	w.Header().Set("X-Emulator-Reason", reason)
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token" error_description="The access token could not be verified"`)
		page(w, r, status, noAccess)
	default:
		page(w, r, status, noPermission)
	}
}

// page writes one of Google's error pages.
func page(w http.ResponseWriter, r *http.Request, status int, text string) {
	title := http.StatusText(status)
	if strings.Contains(text, "%s") {
		text = fmt.Sprintf(text, html.EscapeString(r.URL.Path))
	}
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `
<html><head>
<meta http-equiv="content-type" content="text/html;charset=utf-8">
<title>%s %s</title>
</head>
<body text=#000000 bgcolor=#ffffff>
<h1>Error: %s</h1>
<h2>%s</h2>
<h2></h2>
</body></html>
`, strconv.Itoa(status), title, title, text)
}
