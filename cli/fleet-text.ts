// What `daypass up` says once everything runs.

/** What runs, and the token to try it with. */
export type Running = {
  readonly home: string;
  readonly control: string;
  readonly data: string;
  readonly admin: string;
  readonly demo: string | undefined;
  readonly token: string | undefined;
  readonly publicUrl: string;
  readonly env: Readonly<Record<string, string>>;
};

/** A few lines for people; those between the blank lines can be pasted into a shell. */
export const welcome = (running: Running): string => {
  const { home, control, data, admin, demo, token } = running;
  const where = [
    `control plane  ${control}`,
    `data plane     ${data}   (health and metrics: ${admin})`,
    ...(demo === undefined ? [] : [`demo upstream  ${demo}`]),
    `home           ${home}`,
  ];
  return `${[...where, ...(token === undefined ? [] : tryIt(running, token)), '', 'Ctrl-C stops everything.'].join('\n')}\n`;
};

const tryIt = ({ publicUrl, home, control, env }: Running, token: string): readonly string[] => {
  const issues = `${publicUrl}/s/demo/repos/acme/site/issues`;
  const authorization = '-H "Authorization: Bearer $TOKEN"';
  const list = ['npx daypass audit list', ...homeFlag(home, env), ...controlFlag(control)].join(' ');
  return [
    '',
    'A token for one hour, two requests that it allows, one that it does not, and all three in the audit:',
    '',
    `TOKEN=${token}`,
    `curl ${authorization} '${issues}?per_page=2'`,
    `curl ${authorization} -d '{"labels":["triage"]}' ${issues}/1/labels`,
    `curl -X DELETE ${authorization} ${issues}/1`,
    list,
  ];
};

const homeFlag = (home: string, env: Readonly<Record<string, string>>): readonly string[] =>
  home === '.daypass' && env.DAYPASS_HOME !== '' ? [] : [`--home ${quoted(home)}`];

const controlFlag = (control: string): readonly string[] =>
  control === 'http://127.0.0.1:8480' ? [] : [`--control-url ${control}`];

/** Safe to paste into a POSIX shell. */
const quoted = (text: string): string =>
  /^[A-Za-z0-9_./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

/** The same as one JSON object. */
export const welcomeJson = ({ home, control, data, admin, demo, token }: Running): string =>
  `${JSON.stringify({ ready: true, home, control, data, admin, ...(demo === undefined ? {} : { demo }), ...(token === undefined ? {} : { token }) })}\n`;
