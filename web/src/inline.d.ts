/** A bundled script as text; see the plugin in build.mjs. */
declare module "inline:*" {
  const code: string;
  export default code;
}
