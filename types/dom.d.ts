// The one name of the DOM that @connectrpc/connect's types ask for and @types/node does not have.
type HeadersInit = [string, string][] | Record<string, string> | Headers;
