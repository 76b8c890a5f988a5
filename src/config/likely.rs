//! Values that are well formed and cannot be meant: those of examples, and names of regions that do not exist.

/// Whether a SecretId or SecretKey is that of an example.
pub fn is_placeholder(written: &str) -> bool {
    let rest = written.trim_start_matches("AKID");
    rest.contains("...")
        || !rest.is_empty() && rest.chars().all(|letter| matches!(letter, 'x' | 'X' | '*' | '.' | '-' | '_'))
}

/// The names of cities that people write in place of a region: each with its codes of API 2.0 and API 3.0
/// (docs/tencent-cloud-api.md §1).
const CITIES: [(&str, &str, &str); 6] = [
    ("beijing", "bj", "ap-beijing"),
    ("shanghai", "sh", "ap-shanghai"),
    ("guangzhou", "gz", "ap-guangzhou"),
    ("chengdu", "cd", "ap-chengdu"),
    ("chongqing", "cq", "ap-chongqing"),
    ("hongkong", "hk", "ap-hongkong"),
];

/// The same names in Chinese.
const CHINESE: [(&str, &str); 6] = [
    ("北京", "beijing"),
    ("上海", "shanghai"),
    ("广州", "guangzhou"),
    ("成都", "chengdu"),
    ("重庆", "chongqing"),
    ("香港", "hongkong"),
];

/// The likely region in place of one that does not exist; `None`: it may exist.
pub fn likely_region(region: &str) -> Option<String> {
    let lower = region.to_lowercase().replace(['_', ' '], "-");
    let city = lower.trim_start_matches("ap-").trim_start_matches("cn-").replace('-', "");
    let city = CHINESE.iter().find(|(name, _)| *name == city).map_or(city, |(_, city)| (*city).to_owned());
    let found = CITIES.iter().find(|(name, ..)| *name == city);
    match found {
        Some((_, _, code)) if region == *code => None,
        Some((_, short, code)) => Some(format!("{short} (API 2.0) or {code} (API 3.0)")),
        None => {
            let codes = || CITIES.iter().flat_map(|(_, short, code)| [*short, *code]);
            // The name of a zone is that of its region and a number.
            let of_zone = region
                .rsplit_once('-')
                .filter(|(_, number)| number.bytes().all(|digit| digit.is_ascii_digit()));
            let meant = [lower.as_str(), of_zone.map_or("", |(region, _)| region)];
            if let Some(code) = codes().find(|code| meant.contains(code) && *code != region) {
                return Some(code.to_owned());
            }
            let mut long = CITIES.iter().map(|(_, _, code)| *code);
            let near = long.find(|code| lower != *code && strsim::osa_distance(&lower, code) <= 2);
            near.map(str::to_owned)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_and_the_name_of_a_city_are_doubted() {
        let shown = |region: &str| likely_region(region).unwrap_or_default();
        assert_eq!(shown("beijing"), "bj (API 2.0) or ap-beijing (API 3.0)");
        assert_eq!(shown("cn-Hong_Kong"), "hk (API 2.0) or ap-hongkong (API 3.0)");
        assert_eq!(shown("BJ"), "bj");
        assert_eq!(
            ["ap-bejing", "ap-guangzou", "ap-beijing-1", "sh-1"].map(shown),
            ["ap-beijing", "ap-guangzhou", "ap-beijing", "sh"]
        );
        assert_eq!(shown("北京"), "bj (API 2.0) or ap-beijing (API 3.0)");
        assert_eq!(
            ["bj", "ap-beijing", "ap-beijing-fsi", "na-siliconvalley", "Peking", "sg"].map(shown),
            [""; 6]
        );
        let placeholders = ["AKID...", "AKIDxxxxxxxx", "AKID****", "..."];
        assert_eq!(placeholders.map(is_placeholder), [true; 4]);
        assert_eq!(
            ["AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE", "AKID", "AKIDxy"].map(is_placeholder),
            [false; 3]
        );
    }
}
