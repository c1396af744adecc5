package ddagent

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/ext"

	"github.com/kumihimo/kumihimo/internal/redact"
)

// fact names an attribute that decides a span's name, resource, type, service
// or error. The lookup order of alternatives is in names.go.
type fact uint8

const (
	factNone fact = iota
	factOperation
	factResource
	factType
	factService
	factHTTPRequestMethod
	factHTTPMethod
	factHTTPRoute
	factURLTemplate
	factDBSystemName
	factDBSystem
	factDBStatement
	factDBQueryText
	factDBName
	factDBNamespace
	factMessagingSystem
	factMessagingOperation
	factMessagingDestination
	factMessagingDestinationName
	factRPCSystem
	factRPCService
	factRPCMethod
	factFaaSProvider
	factFaaSName
	factFaaSTrigger
	factGraphQLType
	factGraphQLName
	factProtocol
	factStatusCode
	factErrorMessage
	factErrorType
	factErrorStack
	facts // how many there are
)

// factSet holds the values of facts, empty where there is none.
type factSet [facts]string

// spanFacts are the facts of a span: its own, and below them the resource's.
// They lie apart because copying the one over the other, half a kilobyte with
// pointers, is what a span would cost most.
type spanFacts struct {
	own  factSet
	have uint64 // bit n is set if own has fact n
	res  *factSet
}

func (f *spanFacts) reset(res *factSet) { f.have, f.res = 0, res }

func (f *spanFacts) set(k fact, value string) {
	f.own[k] = value
	f.have |= 1 << k
}

func (f *spanFacts) get(k fact) string {
	if f.have&(1<<k) != 0 {
		return f.own[k]
	}
	return f.res[k]
}

// first returns the first value there is.
func (f *spanFacts) first(keys ...fact) string {
	for _, k := range keys {
		if v := f.get(k); v != "" {
			return v
		}
	}
	return ""
}

// treatment is what happens to an attribute's value.
type treatment uint8

const (
	keep       treatment = iota // goes out as it is
	omit                        // is said elsewhere, or would contradict the chunk
	secret                      // is replaced
	redactURL                   // loses userinfo and signed query values
	redactArgs                  // a query string: loses signed values
	redactText                  // a text: the URLs in it lose both
	asText                      // goes out as a string: http.status_code is one in Datadog
	asSwitch                    // a bool that Datadog has as the metric 0 or 1
	keepTrace                   // manual.keep
	dropTrace                   // manual.drop
)

// keyInfo is what the mapping knows of an attribute key.
type keyInfo struct {
	key   string // itself; empty unless it is in the table
	as    string // the key in Datadog's terms; also wins over a renamed one
	fact  fact
	treat treatment
	moved bool // as differs from the key,
	cut   bool // as it was too long or no UTF-8

	bit, asBit uint64 // of key and as, by their hashes: to tell quickly that a span has no such key

	number uint16 // in the table, from 1; 0: it is not there
}

// known are the keys with a meaning, after the agent's own OTLP intake
// (pkg/trace/transform, pkg/opentelemetry-mapping-go) and the reserved
// attributes of Datadog's OTel API.
var known = map[string]keyInfo{
	"operation.name": {fact: factOperation, treat: omit},
	ext.ResourceName: {fact: factResource, treat: omit},
	ext.SpanType:     {fact: factType, treat: omit},
	ext.ServiceName:  {fact: factService, treat: omit},

	ext.HTTPRequestMethod:      {fact: factHTTPRequestMethod, as: ext.HTTPMethod},
	ext.HTTPMethod:             {fact: factHTTPMethod},
	ext.HTTPRoute:              {fact: factHTTPRoute},
	"url.template":             {fact: factURLTemplate},
	"db.system.name":           {fact: factDBSystemName},
	ext.DBSystem:               {fact: factDBSystem},
	ext.DBStatement:            {fact: factDBStatement},
	"db.query.text":            {fact: factDBQueryText},
	ext.DBName:                 {fact: factDBName},
	"db.namespace":             {fact: factDBNamespace},
	ext.MessagingSystem:        {fact: factMessagingSystem},
	"messaging.operation":      {fact: factMessagingOperation},
	"messaging.destination":    {fact: factMessagingDestination},
	"graphql.operation.type":   {fact: factGraphQLType},
	"graphql.operation.name":   {fact: factGraphQLName},
	"network.protocol.name":    {fact: factProtocol},
	ext.RPCSystem:              {fact: factRPCSystem},
	ext.RPCService:             {fact: factRPCService},
	ext.RPCMethod:              {fact: factRPCMethod},
	"faas.invoked_provider":    {fact: factFaaSProvider},
	"faas.invoked_name":        {fact: factFaaSName},
	"faas.trigger":             {fact: factFaaSTrigger},
	ext.HTTPCode:               {fact: factStatusCode, treat: asText},
	ext.ErrorMsg:               {fact: factErrorMessage, treat: redactText},
	"exception.message":        {treat: redactText},
	ext.ErrorType:              {fact: factErrorType},
	ext.ErrorStack:             {fact: factErrorStack},
	ext.ManualKeep:             {treat: keepTrace},
	ext.ManualDrop:             {treat: dropTrace},
	ext.AnalyticsEvent:         {as: ext.EventSampleRate, treat: asSwitch},
	keyMeasured:                {treat: asSwitch},
	ext.HTTPURL:                {treat: redactURL},
	ext.URLFull:                {as: ext.HTTPURL, treat: redactURL},
	ext.URLQuery:               {treat: redactArgs},
	ext.ClientAddress:          {as: ext.HTTPClientIP},
	ext.HTTPResponseBodySize:   {as: "http.response.content_length"},
	ext.HTTPRequestBodySize:    {as: "http.request.content_length"},
	"network.protocol.version": {as: "http.version"},
	ext.ServerAddress:          {as: "http.server_name"},
	ext.UserAgentOriginal:      {as: ext.HTTPUserAgent},

	ext.HTTPResponseStatusCode:     {as: ext.HTTPCode, fact: factStatusCode, treat: asText},
	ext.MessagingDestinationName:   {fact: factMessagingDestinationName},
	"http.request.header.referrer": {as: "http.referrer"},

	// Facts of the chunk or the process, which an attribute must not gainsay.
	keyTraceHigh:        {treat: omit},
	keyDecisionMaker:    {treat: omit},
	keyPriority:         {treat: omit},
	keyRuleRate:         {treat: omit},
	keyLimitRate:        {treat: omit},
	keyAgentRate:        {treat: omit},
	"sampling.priority": {treat: omit},
	keyOrigin:           {treat: omit},
	keyLastParent:       {treat: omit},
	keyTopLevel:         {treat: omit},
	keyBaseService:      {treat: omit},
	keyPropagation:      {treat: omit},
	keyHasException:     {treat: omit},
	keyScopeName:        {treat: omit},
	keyScopeVersion:     {treat: omit},
	keyStatusCode:       {treat: omit},
	keyTruncated:        {treat: omit},
	ext.SpanKind:        {treat: omit},
	ext.RuntimeID:       {treat: omit},
	ext.Pid:             {treat: omit},
}

// Keys of Datadog's protocol that ddtrace/ext has no name for.
const (
	keyTraceHigh     = "_dd.p.tid"
	keyDecisionMaker = "_dd.p.dm"
	keyPriority      = "_sampling_priority_v1"
	keyRuleRate      = "_dd.rule_psr"
	keyLimitRate     = "_dd.limit_psr"
	keyAgentRate     = "_dd.agent_psr"
	keyOrigin        = "_dd.origin"
	keyLastParent    = "_dd.parent_id"
	keyTopLevel      = "_dd.top_level"
	keyMeasured      = "_dd.measured"
	keyBaseService   = "_dd.base_service"
	keyPropagation   = "_dd.propagation_error"
	keyHasException  = "_dd.span_events.has_exception"
	keyScopeName     = "otel.scope.name"
	keyScopeVersion  = "otel.scope.version"
	keyStatusCode    = "otel.status_code"
	keySampleRate    = "_sample_rate"
)

const headerPrefix = "http.request.header."

// maxKeys bounds the table below: programs have a few hundred attribute keys,
// unless they make keys of their data.
const maxKeys = 1024

// keyTable remembers what is known of each key seen, so that a span costs one
// map access an attribute, not sixteen comparisons with secret words.
type keyTable struct {
	redactor *redact.Redactor
	mu       sync.Mutex // serialises writers
	seen     atomic.Pointer[map[string]*keyInfo]
	names    atomic.Pointer[[]string] // as, by number less 1; it only grows
}

// numbered returns the keys that records name by number.
func (t *keyTable) numbered() []string {
	if t == nil {
		return nil
	}
	if names := t.names.Load(); names != nil {
		return *names
	}
	return nil
}

func (t *keyTable) lookup(key string) *keyInfo {
	if m := t.seen.Load(); m != nil {
		if k, ok := (*m)[key]; ok {
			return k
		}
	}
	return t.learn(key)
}

// recentKeys are those that one encoder has last met. A span finds its own here
// in a third of the time the table takes.
type recentKeys [256]*keyInfo

func (r *recentKeys) lookup(t *keyTable, key string) *keyInfo {
	at := &r[hash(key)]
	if *at != nil && (*at).key == key {
		return *at
	}
	k := t.lookup(key)
	if k.key != "" {
		*at = k
	}
	return k
}

// hash is good enough to tell a span's keys from each other.
func hash(key string) uint8 {
	n := len(key)
	if n == 0 {
		return 0
	}
	return uint8(n*31) ^ key[n-1] ^ key[n/2]<<3 ^ key[0]<<5
}

func (t *keyTable) learn(key string) *keyInfo {
	info := new(keyInfo)
	*info = t.describe(key)
	t.mu.Lock()
	defer t.mu.Unlock()
	var old map[string]*keyInfo
	if m := t.seen.Load(); m != nil {
		old = *m
	}
	if k, ok := old[key]; ok {
		return k // another was faster
	}
	if len(old) >= maxKeys || len(key) > maxKey {
		return info
	}
	next := make(map[string]*keyInfo, len(old)+1)
	for k, v := range old {
		next[k] = v
	}
	info.key = strings.Clone(key)
	next[info.key] = info
	names := append(slices.Clip(t.numbered()), info.as)
	info.number = uint16(len(names))
	t.names.Store(&names) // before anybody can use the number
	t.seen.Store(&next)
	return info
}

func (t *keyTable) describe(key string) keyInfo {
	info, ok := known[key]
	if info.as == "" {
		info.as = strings.Clone(key)
	}
	if header, found := strings.CutPrefix(key, headerPrefix); found && !ok {
		info.as = ext.HTTPRequestHeaders + "." + header
	}
	whole := info.as
	info.as = clean(whole, maxKey)
	info.moved, info.cut = info.as != key, info.as != whole
	info.bit, info.asBit = 1<<(hash(key)&63), 1<<(hash(info.as)&63)
	if t.redactor.Key(key) && (info.treat == keep || info.treat == asText) {
		info.treat = secret
	}
	return info
}
